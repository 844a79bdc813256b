//! Responses as they come, to clients that read them and to those that do not.

mod leaving;
mod pieces;
mod recorded;
mod untaken;

//! What survives the process, and what happens where it cannot be written.

mod crash;
mod down;
mod restart;

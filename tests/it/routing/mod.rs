//! Which instance answers whom, and why.

mod explain;
mod identify;
mod methods;
mod owners;
mod slots;
mod users;

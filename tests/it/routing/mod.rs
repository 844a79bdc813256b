//! Which instance answers whom, and why.

mod base_path;
mod explain;
mod identify;
mod methods;
mod owners;
mod slots;
mod users;

//! Files that a configuration is read from, and names: what is in them, and who may reach them.

pub(super) mod bounded_read;
pub(super) mod env_file;
pub(super) mod file_access;

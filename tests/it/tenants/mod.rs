//! Users, keys and apps beside each other.

mod fairness;
mod keys;
mod own_users;

//! TLS with clients and with instances.

mod clients;
mod instances;

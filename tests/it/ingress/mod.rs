//! Requests to services, beside those of apps.

mod echo;
mod forwarding;
mod nobody;
mod routes;

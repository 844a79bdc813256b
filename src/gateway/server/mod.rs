//! Listening: accepting connections, TLS handshakes, HTTP/1 and HTTP/2 connections of clients, their end.

pub(crate) mod accept;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod h2_write_timeout;
pub(crate) mod lingering_close;
pub(crate) mod listener;
pub(crate) mod write_response;

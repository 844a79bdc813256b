//! What clients' and instances' TLS have in common: PEM, algorithms, the stream.

pub(crate) mod pem;
pub(crate) mod profile;
pub(crate) mod transport;

//! HTTP/1.1 as gunicorn 23 speaks it: request heads and bodies in, answers and events out.
//!
//! Written by hand, because a library would not give header case and order, reason phrases,
//! gunicorn's own refusals or broken answers exactly as they were recorded.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod head;
pub(crate) mod refusal;
pub(crate) mod socket;

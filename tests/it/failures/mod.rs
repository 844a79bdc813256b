//! Instances fail: what clients see, and what is sent a second time.

mod instances;
mod once;
mod promises;
mod retries;

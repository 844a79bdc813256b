//! Runs that wait for a worker, and runs that lose their API process.

mod resumed;
mod starts;

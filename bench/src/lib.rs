//! What is measured of difygate beside other proxies, and how.
//!
//! Four programs: `speed` measures what requests, events and connections cost, `faults` breaks
//! instances and counts what clients notice, `soak` keeps a gateway busy and broken for minutes and
//! looks for leaks, `slow` brings thousands of slow clients. The proxies run as processes of their
//! own, as they would in service; the instances and the clients share this process.
//!
//! Deliberately absent: anything of the gateway's code. It is measured from outside, like the
//! others.

pub mod case;
pub mod choice;
pub mod client;
pub mod contender;
pub mod goals;
pub mod load;
pub mod measure;
pub mod process;
pub mod report;
pub mod slow;
pub mod soak;
pub mod speed;
pub mod table;

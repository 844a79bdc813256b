//! The comparison of speed and memory: what a request, an event, a connection costs a proxy.
//!
//! Each proxy has one worker on the first core that this process may use; the instance, the
//! generator of load and whoever else is ours share the last one. What is compared is the CPU time
//! of the proxy's own processes for each request, which does not depend on how quick the generator
//! is. Rounds of the contenders alternate, so that a machine that changes its speed changes it for
//! all of them: ratios are taken within a round.
//!
//! Deliberately absent: an average over runs, and a test that fails because of a clock.

pub mod beside;
pub mod cell;
pub mod cores;
pub mod cost;
pub mod crowd;
pub mod entry;
pub mod goals;
pub mod instance;
pub mod line;
pub mod load;
pub mod plot;
pub mod reloads;
pub mod results;
pub mod round;
pub mod scene;
pub mod streams;
pub mod work;

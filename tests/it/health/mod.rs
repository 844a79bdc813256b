//! Who is in rotation and who is not.

mod ejection;
mod probes;
mod redis_away;
mod returning;
mod stage;

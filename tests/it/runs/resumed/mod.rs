//! API processes die in the middle of streamed flows, whose runs go on in the worker.

mod ai;
mod kills;
mod stage;
mod wire;

//! Ids that one instance alone knows are learned from answers and lead there.

mod datasets;
mod keyless;
mod learned;
mod live;
mod stage;

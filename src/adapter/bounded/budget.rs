//! The bounds of a body, and what is left of them.

use std::cell::Cell;

/// The most values of a body: items of lists and fields of objects, at any depth.
pub(crate) const MAX_ELEMENTS: usize = 100_000;
/// The most objects and lists within each other.
pub(crate) const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Elements,
    Depth,
}

/// What is left of the bounds, and which was hit.
pub(crate) struct Budget {
    pub(super) left: Cell<usize>,
    pub(super) error: Cell<Option<Bound>>,
}

impl Budget {
    pub(super) fn exceeded<E: serde::de::Error>(&self, bound: Bound) -> E {
        self.error.set(Some(bound));
        E::custom("beyond the bounds")
    }

    pub(super) fn take_one<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.exceeded(Bound::Elements)),
        }
    }
}

//! How many connections each client's address has open, over all workers and without a lock.
//!
//! A count-min sketch: an address counts in one cell of each row, and its number is the least of
//! them. Addresses that share a cell make each other's number too large, but hardly ever in all rows
//! at once, and where they fall cannot be foreseen from outside. Memory is fixed, whoever connects.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const ROWS: usize = 4;
const CELLS: usize = 8192;

/// The connections of all addresses.
#[derive(Debug)]
pub(crate) struct Crowd {
    cells: Box<[AtomicU32]>,
    hashers: [RandomState; ROWS],
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        let cells = (0..ROWS * CELLS).map(|_| AtomicU32::new(0)).collect();
        Self { cells, hashers: std::array::from_fn(|_| RandomState::new()) }
    }

    /// A place for one more connection of an address; none if it has `limit` already. For IPv6 the
    /// first 64 bits count: a client has all that begin so.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Place> {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let cell_of = |row: usize| {
            let hash = self.hashers[row].hash_one((address.to_canonical().is_ipv4(), network));
            row * CELLS + (hash % CELLS as u64) as usize
        };
        let cells: [usize; ROWS] = std::array::from_fn(cell_of);
        let before = cells.map(|cell| self.cells[cell].fetch_add(1, Ordering::Relaxed));
        let place = Place { crowd: Arc::clone(self), cells };
        before.into_iter().any(|count| count < limit).then_some(place)
    }
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    cells: [usize; ROWS],
}

impl Drop for Place {
    fn drop(&mut self) {
        for cell in self.cells {
            self.crowd.cells[cell].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::Crowd;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let crowd = Arc::new(Crowd::new());
        let mut places: Vec<_> =
            (0..3).map(|_| crowd.enter(address("10.0.0.1"), 3).unwrap()).collect();
        assert!(crowd.enter(address("10.0.0.1"), 3).is_none());
        assert!(crowd.enter(address("::ffff:10.0.0.1"), 3).is_none());
        assert!(crowd.enter(address("10.0.0.2"), 3).is_some());
        places.pop();
        assert!(crowd.enter(address("10.0.0.1"), 3).is_some(), "who was refused left no trace");
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let crowd = Arc::new(Crowd::new());
        let _place = crowd.enter(address("2001:db8::1"), 1).unwrap();
        assert!(crowd.enter(address("2001:db8::2"), 1).is_none());
        assert!(crowd.enter(address("2001:db8:0:1::1"), 1).is_some());
    }

    #[test]
    fn a_crowd_of_others_takes_no_place_of_mine() {
        let crowd = Arc::new(Crowd::new());
        let others = (0..20_000_u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let places: Vec<_> = others.map(|other| crowd.enter(other, 64)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!((0..32).all(|_| crowd.enter(address("192.0.2.1"), 64).is_some()));
    }
}

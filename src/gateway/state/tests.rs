//! Of thousands of apps and members each is far from the processor, so what every request needs of
//! them stands together.

use std::mem::{align_of, offset_of, size_of};

use crate::gateway::state::app::App;
use crate::gateway::state::app_stats::AppStats;
use crate::gateway::state::member::Member;
use crate::gateway::state::member_stats::MemberStats;
use crate::telemetry::Counter;

/// Of the processor's cache, in bytes.
const LINE: usize = 64;

/// What a shared pointer counts stands before what it points to.
const COUNTS: usize = 2 * size_of::<usize>();

/// Of a histogram, its sum and its quickest bucket.
const QUICKEST: usize = 2 * size_of::<Counter>();

#[test]
fn an_app_is_two_lines_and_what_it_counts_one() {
    assert!(COUNTS + offset_of!(App, policy) <= LINE);
    assert!(COUNTS + offset_of!(App, ai) <= 2 * LINE);
    assert!(offset_of!(AppStats, duration) + QUICKEST <= LINE);
    assert_eq!(align_of::<AppStats>(), LINE);
}

#[test]
fn a_member_is_two_lines_and_what_it_counts_one() {
    assert!(COUNTS + offset_of!(Member, authorization) <= LINE);
    assert!(COUNTS + offset_of!(Member, fail_statuses) <= 2 * LINE);
    assert!(offset_of!(MemberStats, first_byte) + QUICKEST <= LINE);
    assert_eq!(align_of::<MemberStats>(), LINE);
}

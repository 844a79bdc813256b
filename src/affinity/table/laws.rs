//! The table against a plain map, and under many threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use uuid::Uuid;

use super::{AppTag, Row, Table};

fn id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

fn row(name: u16, at_s: u32) -> Row {
    Row { name, lasting: name % 2 == 1, at_s, app: AppTag::default() }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64, u16),
    Get(u64),
    Remove(u64),
}

fn steps(ids: u64) -> impl Strategy<Value = Vec<Step>> {
    let id = 0..ids;
    let step = prop_oneof![
        3 => (id.clone(), 0_u16..32_768).prop_map(|(id, name)| Step::Insert(id, name)),
        3 => id.clone().prop_map(Step::Get),
        1 => id.prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn one_bucket_is_a_map_that_forgets_what_was_used_longest_ago(steps in steps(14)) {
        let table = Table::new(8);
        let mut model: HashMap<u64, Row> = HashMap::new();
        for (at_s, step) in (1..).zip(steps) {
            match step {
                Step::Insert(n, name) => {
                    let new = row(name, at_s);
                    prop_assert_eq!(table.insert(id(n), new), model.get(&n).copied());
                    if model.len() == 8 && !model.contains_key(&n) {
                        let oldest = *model.iter().min_by_key(|(_, row)| row.at_s).unwrap().0;
                        model.remove(&oldest);
                    }
                    model.insert(n, new);
                }
                Step::Get(n) => {
                    let found = table.get(id(n));
                    prop_assert_eq!(found, model.get(&n).copied());
                    if let Some(found) = found {
                        prop_assert!(table.touch(id(n), found, at_s));
                        model.insert(n, Row { at_s, ..found });
                    }
                }
                Step::Remove(n) => prop_assert_eq!(table.remove(id(n)), model.remove(&n)),
            }
            prop_assert_eq!(table.len(), model.len() as u64);
        }
    }

    #[test]
    fn many_buckets_forget_but_never_confuse(steps in steps(400)) {
        let table = Table::new(256);
        let mut model: HashMap<u64, Row> = HashMap::new();
        for (at_s, step) in (1..).zip(steps) {
            match step {
                Step::Insert(n, name) => {
                    let new = row(name, at_s);
                    table.insert(id(n), new);
                    model.insert(n, new);
                    prop_assert_eq!(table.get(id(n)), Some(new));
                }
                Step::Get(n) => {
                    let found = table.get(id(n));
                    prop_assert!(found.is_none() || found == model.get(&n).copied());
                }
                Step::Remove(n) => {
                    table.remove(id(n));
                    model.remove(&n);
                    prop_assert_eq!(table.get(id(n)), None);
                }
            }
        }
    }
}

#[test]
fn a_table_holds_most_of_what_it_has_room_for() {
    let table = Table::new(10_000);
    (0..10_000).for_each(|n| assert_eq!(table.insert(id(n), row(1, 1)), None));
    // By chance some buckets are full before others.
    assert!((8_000..=10_000).contains(&table.len()), "{}", table.len());
    let found = (0..10_000).filter(|n| table.get(id(*n)).is_some()).count();
    assert_eq!(found as u64, table.len());
}

#[test]
fn threads_never_see_a_wrong_owner() {
    // 64 ids for 16 places: rows give way all the time. Each id has one owner, so a wrong answer
    // would show.
    let table = Table::new(16);
    let done = AtomicBool::new(false);
    let name = |n: u64| u16::try_from(n).unwrap() + 100;
    thread::scope(|scope| {
        for writer in 0..3_u64 {
            let (table, done) = (&table, &done);
            scope.spawn(move || {
                for round in 0..60_000_u64 {
                    let n = (round * 7 + writer * 13) % 64;
                    let at_s = u32::try_from(round).unwrap();
                    if let Some(old) = table.insert(id(n), row(name(n), at_s)) {
                        assert_eq!(old.name, name(n));
                    }
                    if round % 5 == writer {
                        table.remove(id((n + 1) % 64));
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            let mut seen = 0_u64;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                for n in 0..64 {
                    if let Some(found) = table.get(id(n)) {
                        assert_eq!(found.name, name(n));
                        seen += 1;
                    }
                }
            }
        });
    });
    // What is written after the storm is kept.
    (0..8).for_each(|n| _ = table.insert(id(n), row(name(n), u32::MAX)));
    let kept = (0..8).filter(|n| table.get(id(*n)).map(|row| row.name) == Some(name(*n)));
    assert!(kept.count() >= 4);
}

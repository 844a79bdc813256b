//! Laws of durations and sizes.

use std::time::Duration;

use proptest::prelude::{any, proptest};
use proptest::{prop_assert, prop_assert_eq};

use super::{format_duration, format_size, parse_duration, parse_size};

#[test]
fn durations_are_read_as_people_write_them() {
    for (text, millis) in [
        ("30", 30_000),
        ("0", 0),
        ("30s", 30_000),
        ("500ms", 500),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1m30s", 90_000),
        ("1h1ms", 3_600_001),
        ("30d", 2_592_000_000),
        ("1d12h", 129_600_000),
    ] {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "s",
        "1x",
        "1.5s",
        "-1s",
        "1s1m",
        "1h1d",
        "1s1s",
        "1 s",
        "30s ",
        "1h30",
        "99999999999999999h",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn sizes_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("0", 0),
        ("1000000", 1_000_000),
        ("15MiB", 15 << 20),
        ("256kib", 256 << 10),
        ("1GIB", 1 << 30),
        ("10MB", 10_000_000),
        ("2 KB", 2000),
        ("7b", 7),
    ] {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
    }
    for text in ["", "MiB", "1k", "1M", "1.5MiB", "-1", "1MiBs", "99999999999GiB"] {
        assert_eq!(parse_size(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn a_written_duration_reads_the_same(millis in any::<u32>()) {
        let duration = Duration::from_millis(millis.into());
        prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
    }

    #[test]
    fn a_written_size_reads_the_same(bytes in any::<u64>(), shift in 0u32..40) {
        let bytes = (bytes >> shift) << shift;
        prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "[0-9hmsMkKiBgG .\\-é]{0,12}") {
        let duration = parse_duration(&text);
        prop_assert!(duration.is_none_or(|duration| duration < Duration::MAX));
        let _ = parse_size(&text);
    }
}

//! Durations, sizes, bounded numbers and addresses as an operator writes them.
//!
//! Why: consumers want a plain [`Duration`], `u64` or [`IpNet`], and operators want `30s` and
//! `15MiB`. Each kind is therefore a pair of functions for serde (`with` or `deserialize_with`)
//! and one for its JSON Schema, so that no wrapper type leaks into other rooms.
//!
//! Every value may also be written as text that names an environment variable; the variable has
//! been replaced before these functions see it, and only the schema has to know.
//!
//! Deliberately absent: fractions (`1.5s`), months, and `k` for a thousand, which people
//! read differently.
//!
//! Error texts are predicates ("must be …"): the reader puts the key in front. A line break parts
//! the predicate from its hint. The wrong value is never repeated, because it may come from the
//! environment.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Deserializer, Error, Visitor};

/// The longest duration that is believed: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest age that is believed: ten years.
const OLDEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Reads `30`, `30s`, `500ms`, `2m`, `1h`, `30d` or `1m30s`. A number alone is in seconds; units go from
/// large to small, each once. `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut rest = text;
    let mut total = 0u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) =
            after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let millis = match unit {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        if millis >= smallest {
            return None;
        }
        smallest = millis;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(millis)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(total))
}

/// A predicate, and how the duration is written that was meant, if that is clear.
fn with_hint(predicate: &str, text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!(
            "{predicate}\na number alone is in seconds: write `{text}ms` for milliseconds"
        );
    }
    match meant_duration(text) {
        Some(meant) => format!("{predicate}\nwrite `{}`", format_duration(meant)),
        None => predicate.to_owned(),
    }
}

/// `30 s`, `30sec`, `1.5s` and the like: one number, perhaps with decimals, and one unit.
fn meant_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    let millis = match unit.trim().to_ascii_lowercase().as_str() {
        "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hr" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    let total = u64::from(parse_thousandths(number)?).checked_mul(millis)?;
    (total > 0 && total.is_multiple_of(1000)).then(|| Duration::from_millis(total / 1000))
}

/// Writes a duration so that [`parse_duration`] gives it back, to the millisecond: `1m30s`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        if millis >= size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads `1000000`, `15MiB`, `256KiB`, `1GiB`, `10MB` and the like, in any case. `None` for
/// anything else. The result is in bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a size so that [`parse_size`] gives it back: `64KiB`, or plain bytes.
pub(crate) fn format_size(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

/// For serde: the text of a scalar, handed to `read`, whose error is the predicate.
pub(crate) fn from_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Reader<F, T>(F, PhantomData<T>);

    impl<F: FnOnce(&str) -> Result<T, String>, T> Visitor<'_> for Reader<F, T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a single value")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Reader(read, PhantomData))
}

/// A whole number from `MIN` to `MAX`, both included.
pub(crate) fn whole<'de, D, T, const MIN: u64, const MAX: u64>(de: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    from_text(de, |text| {
        let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
    })
}

/// As [`whole`], for a key that may be absent.
pub(crate) fn maybe_whole<'de, D, T, const MIN: u64, const MAX: u64>(
    de: D,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    whole::<D, T, MIN, MAX>(de).map(Some)
}

/// A share such as `20%` or `12.5%`, from nothing to all, in thousandths; for a key that may be
/// absent.
pub(crate) fn maybe_share<'de, D: Deserializer<'de>>(de: D) -> Result<Option<u32>, D::Error> {
    from_text(de, |text| {
        let share = text.strip_suffix('%').and_then(|number| parse_thousandths(number.trim_end()));
        // Thousandths of a percent, of which only whole tenths of a percent are kept.
        let share = share.filter(|share| *share <= 100_000 && share.is_multiple_of(100));
        let message = "must be a share from `0%` to `100%`, with at most one decimal";
        share.map(|share| Some(share / 100)).ok_or(message.to_owned())
    })
}

/// Reads `1`, `1.25` or `1.125` exactly, as thousandths.
pub(crate) fn parse_thousandths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        return None;
    }
    let decimals: u32 = format!("{decimals:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(decimals)
}

/// `50%`, as a number from 1 to 100.
pub(crate) fn percent<'de, D: Deserializer<'de>>(de: D) -> Result<Option<u32>, D::Error> {
    from_text(de, |text| {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
        number
            .filter(|percent| (1..=100).contains(percent))
            .map(Some)
            .ok_or_else(|| "must be a share from `1%` to `100%`".to_owned())
    })
}

/// For `serialize_with`: as one writes it.
pub(crate) fn write_percent<S: serde::Serializer>(percent: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{percent}%"))
}

/// A size in bytes from `MIN` to `MAX`, both included.
pub(crate) fn size<'de, D, T, const MIN: u64, const MAX: u64>(de: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    from_text(de, |text| {
        let bytes = parse_size(text)
            .ok_or("must be a size such as `256KiB`, `15MiB`, `10MB` or a number of bytes")?;
        let bytes = Some(bytes).filter(|bytes| (MIN..=MAX).contains(bytes));
        bytes.and_then(|bytes| T::try_from(bytes).ok()).ok_or_else(|| {
            format!("must be a size from {} to {}", format_size(MIN), format_size(MAX))
        })
    })
}

/// For `serialize_with`: a size as [`format_size`] writes it.
pub(crate) fn write_size<S, T>(bytes: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    S: serde::Serializer,
    T: Copy + TryInto<u64>,
{
    let bytes = (*bytes).try_into().map_err(|_| serde::ser::Error::custom("size out of range"))?;
    serializer.collect_str(&format_size(bytes))
}

/// For `with`: a [`Duration`] from a millisecond to a week.
pub(crate) mod duration {
    use super::{
        Deserializer, Duration, LONGEST, format_duration, from_text, parse_duration, with_hint,
    };

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Duration, D::Error> {
        from_text(de, |text| {
            let duration = parse_duration(text).ok_or_else(|| {
                let predicate = "must be a duration such as `30s`, `500ms`, `2m`, `1h` or `1m30s`";
                with_hint(predicate, text)
            })?;
            if duration.is_zero() || duration > LONGEST {
                return Err(with_hint("must be a duration from `1ms` to `168h`", text));
            }
            Ok(duration)
        })
    }

    pub(crate) fn serialize<S: serde::Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_duration(*duration))
    }
}

/// For `with`: a [`Duration`] from a minute to ten years.
pub(crate) mod age {
    pub(crate) use super::duration::serialize;
    use super::{Deserializer, Duration, OLDEST, from_text, parse_duration, with_hint};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Duration, D::Error> {
        from_text(de, |text| {
            let age = parse_duration(text).ok_or_else(|| {
                with_hint("must be a duration such as `30d`, `12h` or `1d12h`", text)
            })?;
            let fits = (Duration::from_secs(60)..=OLDEST).contains(&age);
            if fits { Ok(age) } else { Err("must be a duration from `1m` to `3650d`".to_owned()) }
        })
    }
}

/// A duration, or `0s` for none.
pub(crate) fn slow_start<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Duration>, D::Error> {
    from_text(de, |text| {
        let longest = Duration::from_secs(24 * 3600);
        parse_duration(text).filter(|duration| *duration <= longest).map(Some).ok_or_else(|| {
            with_hint("must be a duration such as `30s` or `2m`, at most `24h`", text)
        })
    })
}

/// An address with a port. Port 0 lets the system choose, which tests want.
pub(crate) fn listen<'de, D: Deserializer<'de>>(de: D) -> Result<SocketAddr, D::Error> {
    from_text(de, |text| {
        text.parse().map_err(|_| {
            let hint = match text.trim_start_matches(':').parse::<u16>() {
                Ok(port) => format!(
                    "write `127.0.0.1:{port}` for this machine alone, `0.0.0.0:{port}` for all"
                ),
                Err(_) => "names such as `localhost` are not looked up".to_owned(),
            };
            // The reader drops a hint whose value came from the environment.
            format!("must be an IP address with a port, such as `127.0.0.1:8080`\n{hint}")
        })
    })
}

/// For `with`: a list of networks; a single address stands for itself alone.
pub(crate) mod networks {
    use super::{Display, IpAddr, IpNet, Visitor, fmt};
    use serde::de::{Deserializer, SeqAccess};
    use serde::{Deserialize, Serializer};

    struct Network(IpNet);

    impl<'de> Deserialize<'de> for Network {
        fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
            super::from_text(de, |text| {
                let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
                network.map(|network| Self(network.trunc())).map_err(|_| {
                    "must be a network such as `10.0.0.0/8` or an address such as `192.168.1.7`"
                        .to_owned()
                })
            })
        }
    }

    struct Networks;

    impl<'de> Visitor<'de> for Networks {
        type Value = Vec<IpNet>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of networks")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<IpNet>, A::Error> {
            let mut networks = Vec::new();
            while let Some(Network(network)) = items.next_element()? {
                networks.push(network);
            }
            Ok(networks)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(de: D) -> Result<Vec<IpNet>, D::Error> {
        de.deserialize_seq(Networks)
    }

    pub(crate) fn serialize<S: Serializer>(
        networks: &[impl Display],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests;

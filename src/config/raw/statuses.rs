//! Statuses: one, a range, or a list of such.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::model::ProbeExpect;
use crate::model::units::from_text;

/// `dify`, one status or a range of them, or a list of such.
pub(crate) fn expect<'de, D: Deserializer<'de>>(de: D) -> Result<Option<ProbeExpect>, D::Error> {
    let items = one_or_many::<D, Expected>(de)?;
    let mut ranges = Vec::new();
    for item in &items {
        match item {
            Expected::Dify if items.len() == 1 => return Ok(Some(ProbeExpect::Dify)),
            Expected::Dify => return Err(D::Error::custom("must be `dify` alone, or statuses")),
            Expected::Status(range) => ranges.push(range.clone()),
        }
    }
    Ok(Some(ProbeExpect::Statuses(ranges)))
}

/// Statuses that may count against an instance: one or a list.
pub(crate) fn fail_statuses<'de, D>(de: D) -> Result<Option<Vec<u16>>, D::Error>
where
    D: Deserializer<'de>,
{
    let statuses = one_or_many::<D, FailStatus>(de)?;
    Ok(Some(statuses.into_iter().map(|FailStatus(status)| status).collect()))
}

enum Expected {
    Dify,
    Status(RangeInclusive<u16>),
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        from_text(de, |text| match text {
            "dify" => Ok(Self::Dify),
            _ => read_range(text).map(Self::Status),
        })
    }
}

fn read_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.trim().parse().ok().filter(|s| (100..=599).contains(s));
    match (status(from), status(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err("must be `dify`, a status such as `200` or a range such as `200-399`".to_owned()),
    }
}

struct FailStatus(u16);

impl<'de> Deserialize<'de> for FailStatus {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        from_text(de, |text| {
            let status = text.parse().ok().filter(|status| (500..=599).contains(status));
            // A line break parts the predicate from its hint.
            status.map(Self).ok_or_else(|| {
                "must be a status from 500 to 599\nothers are the client's or a model provider's \
                 doing, and say nothing about the instance"
                    .to_owned()
            })
        })
    }
}

/// A list, or one item alone.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(de: D) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a status or a list of them")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            let text: serde::de::value::StrDeserializer<'_, E> =
                serde::de::IntoDeserializer::into_deserializer(text);
            T::deserialize(text).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                all.push(item);
            }
            Ok(all)
        }
    }

    de.deserialize_any(Items(PhantomData))
}

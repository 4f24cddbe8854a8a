//! Which components and providers a certificate is about: all, or some by id. In JSON `"all"` or a list of strings.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{check_name, malformed};
use crate::Error;

/// Most ids in one list of a certificate.
pub const MAX_IDS: usize = 128;

const ALL: &str = "all";

/// A set of components and providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// Every one.
    All,
    /// Those with these ids.
    Only(BTreeSet<String>),
}

impl Ids {
    /// No component and no provider.
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Those with these ids.
    pub fn only<T: Into<String>>(ids: impl IntoIterator<Item = T>) -> Self {
        Self::Only(ids.into_iter().map(Into::into).collect())
    }

    /// Whether an id is among them.
    pub fn contains(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }

    /// Whether they are none.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(ids) if ids.is_empty())
    }

    /// An id of these that is not among `others`: `None` when all are, and [`ALL`] for all ids among some.
    pub(super) fn first_not_in<'a>(&'a self, others: &Self) -> Option<&'a str> {
        match (self, others) {
            (_, Self::All) => None,
            (Self::All, Self::Only(_)) => Some(ALL),
            (Self::Only(ids), Self::Only(others)) => {
                ids.iter().find(|id| !others.contains(*id)).map(String::as_str)
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let Self::Only(ids) = self else { return Ok(()) };
        if ids.len() > MAX_IDS {
            return Err(malformed(format!("it lists {} ids, more than {MAX_IDS}", ids.len())));
        }
        ids.iter().try_for_each(|id| check_name("id in a list", id))
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::none()
    }
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str(ALL),
            Self::Only(ids) => serializer.collect_seq(ids),
        }
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdsVisitor)
    }
}

struct IdsVisitor;

impl<'de> Visitor<'de> for IdsVisitor {
    type Value = Ids;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{ALL}` or a list of ids")
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Ids, E> {
        if word == ALL {
            Ok(Ids::All)
        } else {
            Err(E::custom(format_args!("expected `{ALL}` or a list of ids")))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Ids, A::Error> {
        let mut ids = BTreeSet::new();
        while let Some(id) = sequence.next_element::<String>()? {
            if ids.len() == MAX_IDS {
                return Err(A::Error::custom(format_args!("more than {MAX_IDS} ids in a list")));
            }
            if !ids.insert(id) {
                return Err(A::Error::custom("an id twice in a list"));
            }
        }
        Ok(Ids::Only(ids))
    }
}

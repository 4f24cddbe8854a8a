//! What can be wrong with encoded values, with values for a function, and with a stream of them.

/// Values could not be encoded, decoded, read from text or shown as text.
///
/// `place` says where: the parameter or result, and the way from there to the value that is wrong, such as
/// `parameter order.items[3].price`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end before the value does.
    #[error(
        "{place} can't be decoded: the bytes end before the value does, at least {missing} more are needed"
    )]
    Truncated {
        /// Where.
        place: String,
        /// How many bytes are needed at least.
        missing: usize,
    },
    /// The bytes are no value of the type.
    #[error("{place} can't be decoded: {problem}")]
    Malformed {
        /// Where.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// Something follows the last value.
    #[error("{bytes} bytes follow the last value")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Decoding would take more memory than values of so many bytes may take.
    #[error("{place} takes too much memory: {encoded} encoded bytes may take {limit} bytes when decoded")]
    TooLarge {
        /// Where the bound was passed.
        place: String,
        /// Length of the encoding, in bytes.
        encoded: usize,
        /// What they may take, in bytes.
        limit: usize,
    },
    /// A value is not of the function's type.
    #[error("{place} should be {expected}, but is {found}")]
    Mismatch {
        /// Where.
        place: String,
        /// The function's type for it.
        expected: String,
        /// What it is.
        found: String,
    },
    /// There are more or fewer values than the function has.
    #[error("the function has {expected} {what}, but {given} were given")]
    Count {
        /// Parameters or results.
        what: &'static str,
        /// How many the function has.
        expected: usize,
        /// How many there are.
        given: usize,
    },
    /// There are more or fewer streams than streams and futures in the values.
    #[error("the values have {expected} streams and futures, but {given} were given")]
    Streams {
        /// How many the values have.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// The text is no parameters of the function.
    #[error("the parameters can't be read: {reason}; they should be {expected}")]
    Text {
        /// What is wrong, and where.
        reason: String,
        /// The function's type.
        expected: String,
    },
    /// The function has a stream or future, which text can't stand for.
    #[error("function {function} has streams or futures, so it can't be called with text")]
    NoText {
        /// Its name.
        function: String,
    },
}

impl CodecError {
    /// The error with its place seen from one step further out.
    pub(super) fn within(mut self, step: impl std::fmt::Display) -> Self {
        if let Self::Truncated { place, .. }
        | Self::Malformed { place, .. }
        | Self::TooLarge { place, .. }
        | Self::Mismatch { place, .. } = &mut self
        {
            *place = format!("{step}{place}");
        }
        self
    }

    pub(super) fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed { place: String::new(), problem: problem.into() }
    }
}

/// A stream broke off: what came so far is not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream broke off: {reason}")]
pub struct StreamBroken {
    /// Why.
    pub reason: String,
}

impl StreamBroken {
    /// A stream that broke off because of `reason`.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

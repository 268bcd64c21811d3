//! What kind of answer a question expects: the agent asks, turn-taking waits accordingly.

/// The kind of answer that is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expect {
    /// Anything.
    #[default]
    Open,
    /// Yes or no.
    YesNo,
    /// One of a few words.
    Choice,
    /// A date.
    Date,
    /// A time of day.
    Time,
    /// A count or amount.
    Number,
    /// A string of digits with pauses inside it.
    PhoneNumber,
    /// A person's name, perhaps spelled.
    Name,
}

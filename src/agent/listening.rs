//! What is done to the caller's audio before it is listened to.

/// The `listening:` of an agent file. Everything is off unless it is asked for: a clean line needs none of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Listening {
    /// For lines that send our own voice back: it is not taken for the caller's.
    pub echo_guard: bool,
    /// Brings faint and loud callers to one level.
    pub gain_control: bool,
    /// Takes noise out by a neural network: 20 ms of delay and the dearest of the three.
    pub noise_suppression: bool,
}

impl Listening {
    /// Whether anything is to be done.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.echo_guard || self.gain_control || self.noise_suppression
    }
}

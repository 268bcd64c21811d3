//! What a call has said to the task that serves it at a vendor, and the task has not yet heard: audio, and what is said
//! beside it, in order. Bounded both ways: of too much audio the oldest goes, of too much else the newest.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Of all that is no audio, what may wait. Only a task that is starved of processor time gets there.
const CONTROLS_WAITING: usize = 256;

/// One thing that was said.
pub enum Input<C> {
    /// Samples of the caller.
    Audio(Vec<i16>),
    /// Anything else.
    Control(C),
}

/// Between the call's handle and the task. Neither side waits for the other.
pub struct Inbox<C> {
    /// Pieces of audio that may wait.
    pieces_waiting: usize,
    queue: Mutex<Queue<C>>,
    stirred: Notify,
}

struct Queue<C> {
    inputs: VecDeque<Input<C>>,
    pieces: usize,
    /// Samples in them, and how many of those are worth waking the task for.
    samples: usize,
    appetite: usize,
    lost: u64,
    closed: bool,
}

/// What waited.
pub struct Taken<C> {
    /// In the order in which it was said.
    pub inputs: VecDeque<Input<C>>,
    /// Inputs that were dropped since the last time.
    pub lost: u64,
    /// Nobody will say more.
    pub closed: bool,
}

impl<C> Inbox<C> {
    /// Keeps so many pieces of audio.
    #[must_use]
    pub fn new(pieces_waiting: usize) -> Self {
        let queue = Queue { inputs: VecDeque::new(), pieces: 0, samples: 0, appetite: 0, lost: 0, closed: false };
        Self { pieces_waiting, queue: Mutex::new(queue), stirred: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of audio. It wakes the task once there is as much as [`Self::rest`] says.
    pub fn push(&self, samples: &[i16]) {
        let mut queue = self.queue();
        queue.pieces += 1;
        queue.samples = queue.samples.saturating_add(samples.len());
        let is_due = queue.samples >= queue.appetite;
        if queue.pieces > self.pieces_waiting {
            let oldest = queue.inputs.iter().position(|input| matches!(input, Input::Audio(_)));
            if oldest.and_then(|place| queue.inputs.remove(place)).is_some() {
                queue.pieces -= 1;
                queue.lost += 1;
            }
        }
        queue.inputs.push_back(Input::Audio(samples.to_vec()));
        drop(queue);
        if is_due {
            self.stirred.notify_one();
        }
    }

    /// Anything else. It wakes the task at once.
    pub fn put(&self, control: C) {
        let mut queue = self.queue();
        if queue.inputs.len() - queue.pieces >= CONTROLS_WAITING {
            queue.lost += 1;
            return;
        }
        queue.inputs.push_back(Input::Control(control));
        drop(queue);
        self.stirred.notify_one();
    }

    /// The call has left.
    pub fn close(&self) {
        self.queue().closed = true;
        self.stirred.notify_one();
    }

    /// Whether the call has left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Comes back when there is something to take. Cancel-safe.
    pub async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Everything that waits.
    #[must_use]
    pub fn take(&self) -> Taken<C> {
        let mut queue = self.queue();
        (queue.pieces, queue.samples) = (0, 0);
        let (inputs, lost) = (std::mem::take(&mut queue.inputs), std::mem::take(&mut queue.lost));
        Taken { inputs, lost, closed: queue.closed }
    }

    /// Audio alone does not wake the task before there are so many samples of it.
    pub fn rest(&self, appetite: usize) {
        let mut queue = self.queue();
        queue.appetite = appetite;
        if queue.pieces > 0 && queue.samples >= appetite {
            self.stirred.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Audio by its first sample, the rest as it is.
    fn told(taken: &Taken<&'static str>) -> Vec<String> {
        let word = |input: &Input<&'static str>| match input {
            Input::Audio(samples) => samples.first().copied().unwrap_or_default().to_string(),
            Input::Control(control) => (*control).to_owned(),
        };
        taken.inputs.iter().map(word).collect()
    }

    #[test]
    fn of_too_much_audio_the_oldest_is_dropped_and_counted_and_nothing_else() {
        let inbox = Inbox::new(3);
        inbox.push(&[0]);
        inbox.put("start");
        (1..=5).for_each(|piece| inbox.push(&[piece]));
        inbox.put("finish");
        let taken = inbox.take();
        assert_eq!(told(&taken), ["start", "3", "4", "5", "finish"]);
        assert_eq!((taken.lost, taken.closed), (3, false));
        let taken = inbox.take();
        assert_eq!((taken.inputs.len(), taken.lost), (0, 0), "counted once");
        inbox.close();
        assert!(inbox.take().closed && inbox.is_closed(), "the call has left");
    }

    #[test]
    fn of_too_much_else_the_newest_is_dropped_and_counted_whatever_audio_there_is() {
        let inbox = Inbox::new(3);
        for _ in 0..CONTROLS_WAITING {
            inbox.put("old");
            inbox.push(&[1]);
        }
        inbox.put("new");
        let taken = inbox.take();
        let told = told(&taken);
        assert_eq!(told.iter().filter(|word| *word == "old").count(), CONTROLS_WAITING);
        assert!(!told.contains(&"new".to_owned()));
        assert_eq!(taken.lost, CONTROLS_WAITING as u64 - 3 + 1);
        inbox.put("new");
        assert_eq!(inbox.take().inputs.len(), 1, "there is room again");
    }

    #[tokio::test]
    async fn audio_wakes_nobody_before_there_is_a_packet_of_it_and_everything_else_does_at_once() {
        let inbox = Inbox::new(100);
        let wakes = || {
            let woken = std::pin::pin!(inbox.stirred.notified()).enable();
            let _ = inbox.take();
            woken
        };
        inbox.rest(480);
        inbox.push(&[0; 160]);
        inbox.push(&[0; 160]);
        assert!(!wakes());
        (0..3).for_each(|_| inbox.push(&[0; 160]));
        assert!(wakes());
        inbox.push(&[0; 160]);
        inbox.put("finish");
        assert!(wakes());
        inbox.push(&[0; 160]);
        inbox.rest(160);
        assert!(wakes(), "what came meanwhile counts");
        inbox.rest(0);
        assert!(!wakes(), "nothing has come");
        inbox.close();
        assert!(wakes());
    }
}

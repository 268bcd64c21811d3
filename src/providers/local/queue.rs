//! The waiting room of the inference pool: who is next, who is turned away, whose work became pointless.

use std::collections::VecDeque;

/// Work of one stream replaces older waiting work of the same stream. Numbers are handed out by the pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamId(pub u64);

/// How soon a job is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Somebody on the phone waits for it: final transcripts, speech, intents.
    Urgent,
    /// Useful if there is time: partial transcripts and speculative work.
    Background,
}

#[derive(Debug)]
struct Waiting<J> {
    stream: Option<StreamId>,
    job: J,
}

/// A bounded queue with two lanes. Pure: jobs are values, nothing runs here.
///
/// Urgent jobs go first, each lane in order of arrival. A background job of a stream replaces the stream's
/// waiting background job; an urgent one drops it, because a final makes the partial before it pointless.
#[derive(Debug)]
pub struct Queue<J> {
    urgent: VecDeque<Waiting<J>>,
    background: VecDeque<Waiting<J>>,
    capacity: usize,
    refused: u64,
    coalesced: u64,
}

impl<J> Queue<J> {
    /// An empty queue whose lanes hold `capacity` jobs each.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { urgent: VecDeque::new(), background: VecDeque::new(), capacity, refused: 0, coalesced: 0 }
    }

    /// Puts a job in its lane. Gives back the jobs that it made pointless.
    ///
    /// # Errors
    /// The job itself when its lane is full.
    pub fn push(&mut self, lane: Lane, stream: Option<StreamId>, job: J) -> Result<Vec<J>, J> {
        let full = match lane {
            Lane::Urgent => self.urgent.len() >= self.capacity,
            Lane::Background => self.background.len() >= self.capacity,
        };
        match lane {
            Lane::Background => {
                if let Some(older) = self.background.iter_mut().find(|w| stream.is_some() && w.stream == stream) {
                    self.coalesced += 1;
                    return Ok(vec![std::mem::replace(&mut older.job, job)]);
                }
                if full {
                    self.refused += 1;
                    return Err(job);
                }
                self.background.push_back(Waiting { stream, job });
                Ok(Vec::new())
            }
            Lane::Urgent => {
                if full {
                    self.refused += 1;
                    return Err(job);
                }
                let pointless = stream.map(|stream| self.drop_background(stream)).unwrap_or_default();
                self.urgent.push_back(Waiting { stream, job });
                Ok(pointless)
            }
        }
    }

    /// The next job, urgent ones first.
    pub fn pop(&mut self) -> Option<(Lane, J)> {
        if let Some(waiting) = self.urgent.pop_front() {
            return Some((Lane::Urgent, waiting.job));
        }
        self.background.pop_front().map(|waiting| (Lane::Background, waiting.job))
    }

    /// Takes out every waiting job of a stream: its call has ended or its segment was discarded.
    pub fn cancel(&mut self, stream: StreamId) -> Vec<J> {
        let mut taken = self.drop_background(stream);
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.urgent).into_iter().partition(|w| w.stream == Some(stream));
        self.urgent = kept;
        self.coalesced += gone.len() as u64;
        taken.extend(gone.into_iter().map(|w| w.job));
        taken
    }

    /// Takes out everything: the pool stops.
    pub fn drain(&mut self) -> Vec<J> {
        std::mem::take(&mut self.urgent)
            .into_iter()
            .chain(std::mem::take(&mut self.background))
            .map(|w| w.job)
            .collect()
    }

    fn drop_background(&mut self, stream: StreamId) -> Vec<J> {
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.background).into_iter().partition(|w| w.stream == Some(stream));
        self.background = kept;
        self.coalesced += gone.len() as u64;
        gone.into_iter().map(|w| w.job).collect()
    }

    /// Jobs waiting in a lane.
    #[must_use]
    pub fn waiting(&self, lane: Lane) -> usize {
        match lane {
            Lane::Urgent => self.urgent.len(),
            Lane::Background => self.background.len(),
        }
    }

    /// Jobs turned away because their lane was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Jobs that never ran because newer work of their stream made them pointless.
    #[must_use]
    pub fn coalesced(&self) -> u64 {
        self.coalesced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<StreamId> = Some(StreamId(1));
    const B: Option<StreamId> = Some(StreamId(2));

    fn order(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).map(|(_, job)| job).collect()
    }

    #[test]
    fn urgent_work_overtakes_background_work() {
        let mut queue = Queue::new(8);
        queue.push(Lane::Background, A, "partial a").unwrap();
        queue.push(Lane::Urgent, B, "final b").unwrap();
        queue.push(Lane::Urgent, None, "voice").unwrap();
        assert_eq!(order(&mut queue), ["final b", "voice", "partial a"]);
    }

    #[test]
    fn a_newer_partial_takes_the_place_of_an_older_one_of_the_same_stream() {
        let mut queue = Queue::new(8);
        queue.push(Lane::Background, A, "a1").unwrap();
        queue.push(Lane::Background, B, "b1").unwrap();
        assert_eq!(queue.push(Lane::Background, A, "a2"), Ok(vec!["a1"]));
        queue.push(Lane::Background, None, "x").unwrap();
        queue.push(Lane::Background, None, "y").unwrap();
        assert_eq!(order(&mut queue), ["a2", "b1", "x", "y"]);
        assert_eq!(queue.coalesced(), 1);
    }

    #[test]
    fn a_final_drops_the_waiting_partial_of_its_stream_only() {
        let mut queue = Queue::new(8);
        queue.push(Lane::Background, A, "a partial").unwrap();
        queue.push(Lane::Background, B, "b partial").unwrap();
        assert_eq!(queue.push(Lane::Urgent, A, "a final"), Ok(vec!["a partial"]));
        assert_eq!(order(&mut queue), ["a final", "b partial"]);
    }

    #[test]
    fn a_full_lane_refuses_and_the_other_lane_still_takes_work() {
        let mut queue = Queue::new(2);
        queue.push(Lane::Urgent, None, "1").unwrap();
        queue.push(Lane::Urgent, None, "2").unwrap();
        assert_eq!(queue.push(Lane::Urgent, None, "3"), Err("3"));
        queue.push(Lane::Background, A, "partial").unwrap();
        assert_eq!((queue.refused(), queue.waiting(Lane::Urgent), queue.waiting(Lane::Background)), (1, 2, 1));
    }

    #[test]
    fn a_refused_final_leaves_the_waiting_partial_alone() {
        let mut queue = Queue::new(1);
        queue.push(Lane::Urgent, B, "b").unwrap();
        queue.push(Lane::Background, A, "partial").unwrap();
        assert_eq!(queue.push(Lane::Urgent, A, "final"), Err("final"));
        assert_eq!(order(&mut queue), ["b", "partial"]);
    }

    #[test]
    fn a_full_background_lane_still_renews_the_partial_it_holds() {
        let mut queue = Queue::new(1);
        queue.push(Lane::Background, A, "a1").unwrap();
        assert_eq!(queue.push(Lane::Background, A, "a2"), Ok(vec!["a1"]));
        assert_eq!(queue.push(Lane::Background, B, "b1"), Err("b1"));
    }

    #[test]
    fn a_cancelled_stream_leaves_no_work_behind() {
        let mut queue = Queue::new(8);
        queue.push(Lane::Urgent, A, "final").unwrap();
        queue.push(Lane::Background, A, "partial").unwrap();
        queue.push(Lane::Urgent, B, "other").unwrap();
        assert_eq!(queue.cancel(StreamId(1)), ["partial", "final"]);
        assert_eq!(order(&mut queue), ["other"]);
    }
}

//! The inference pool: a few low-priority threads that run the models for all calls.

use super::queue::{Lane, Queue, StreamId};
use crate::providers::ProviderError;
use hdrhistogram::Histogram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How far below media and signalling the pool's threads run (`nice` value): a model may take every core that is
/// idle and none that is wanted.
const NICE: i32 = 10;

/// Jobs that may wait in each lane. At 100 ms a job, more than this is over six seconds behind on one core:
/// an honest "busy" is worth more to a caller than an answer that late.
pub const QUEUE_CAPACITY: usize = 64;

/// Longest time that the histograms tell apart.
const LONGEST: Duration = Duration::from_secs(60);

/// How large the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Threads, and copies of each model. At least one is started.
    pub threads: usize,
    /// Jobs that may wait in each lane.
    pub queue: usize,
}

impl Default for PoolConfig {
    /// All cores but one, which stays with media and signalling.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: cores.saturating_sub(1).max(1), queue: QUEUE_CAPACITY }
    }
}

/// What runs, and who hears of it when it cannot.
struct Job {
    provider: &'static str,
    submitted: Instant,
    work: Box<dyn FnOnce() + Send>,
    failed: Box<dyn FnOnce(ProviderError) + Send>,
}

struct State {
    queue: Queue<Job>,
    busy: usize,
    done: u64,
    panicked: u64,
    stopping: bool,
    waited: Histogram<u64>,
    took: Histogram<u64>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// Urgent jobs waiting, readable by running background jobs without the lock.
    urgent_waiting: AtomicU64,
    next_stream: AtomicU64,
    threads: usize,
}

/// The pool. Dropping it refuses what waits with [`ProviderError::Stopped`] and ends the threads.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.shared.threads).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(config: PoolConfig) -> std::io::Result<Self> {
        let threads = config.threads.max(1);
        let histogram = || Histogram::new_with_max(LONGEST.as_micros() as u64, 2).map_err(std::io::Error::other);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(config.queue.max(1)),
                busy: 0,
                done: 0,
                panicked: 0,
                stopping: false,
                waited: histogram()?,
                took: histogram()?,
            }),
            work: Condvar::new(),
            urgent_waiting: AtomicU64::new(0),
            next_stream: AtomicU64::new(1),
            threads,
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(threads) };
        for n in 0..threads {
            let shared = Arc::clone(&pool.shared);
            pool.threads.push(std::thread::Builder::new().name(format!("inference-{n}")).spawn(move || {
                if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
                    tracing::warn!(%error, "inference thread keeps the normal priority");
                }
                serve(&shared);
            })?);
        }
        Ok(pool)
    }

    /// A number for a new stream, for [`Pool::submit`].
    #[must_use]
    pub fn new_stream(&self) -> StreamId {
        StreamId(self.shared.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    /// Queues `work`; never blocks. `failed` is called instead, from a pool thread, when the work panics or
    /// the pool stops first. Work that newer work of its `stream` makes pointless is dropped without a call.
    ///
    /// # Errors
    /// [`ProviderError::Busy`] when the lane is full, [`ProviderError::Stopped`] when the pool is ending.
    pub fn submit(
        &self,
        provider: &'static str,
        lane: Lane,
        stream: Option<StreamId>,
        work: impl FnOnce() + Send + 'static,
        failed: impl FnOnce(ProviderError) + Send + 'static,
    ) -> Result<(), ProviderError> {
        let job = Job { provider, submitted: Instant::now(), work: Box::new(work), failed: Box::new(failed) };
        let mut state = self.shared.state();
        if state.stopping {
            return Err(ProviderError::Stopped { provider: provider.into() });
        }
        let pushed = state.queue.push(lane, stream, job);
        let waiting = state.queue.waiting(lane);
        self.shared.urgent_waiting.store(state.queue.waiting(Lane::Urgent) as u64, Ordering::Relaxed);
        drop(state);
        match pushed {
            Ok(_pointless) => {
                self.shared.work.notify_one();
                Ok(())
            }
            Err(_job) => Err(ProviderError::Busy { provider: provider.into(), waiting }),
        }
    }

    /// Drops the waiting work of a stream that is of no use any more.
    pub fn cancel(&self, stream: StreamId) {
        let mut state = self.shared.state();
        let gone = state.queue.cancel(stream);
        self.shared.urgent_waiting.store(state.queue.waiting(Lane::Urgent) as u64, Ordering::Relaxed);
        drop(state);
        drop(gone);
    }

    /// Whether urgent work waits for a thread: a long background job asks now and then, and gives way.
    #[must_use]
    pub fn urgent_waits(&self) -> bool {
        self.shared.urgent_waiting.load(Ordering::Relaxed) > 0
    }

    /// The figures of this moment.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let state = self.shared.state();
        PoolStats {
            threads: self.shared.threads,
            busy: state.busy,
            urgent_waiting: state.queue.waiting(Lane::Urgent),
            background_waiting: state.queue.waiting(Lane::Background),
            done: state.done,
            refused: state.queue.refused(),
            coalesced: state.queue.coalesced(),
            panicked: state.panicked,
            waited: Spread::of(&state.waited),
            took: Spread::of(&state.took),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.state();
            state.stopping = true;
            state.queue.drain()
        };
        self.shared.work.notify_all();
        for job in left {
            let provider = job.provider;
            (job.failed)(ProviderError::Stopped { provider: provider.into() });
        }
        let own = std::thread::current().id();
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            // A worker's own panic was caught and reported when it happened.
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared) {
    loop {
        let job = {
            let mut state = shared.state();
            loop {
                if let Some((_, job)) = state.queue.pop() {
                    state.busy += 1;
                    shared.urgent_waiting.store(state.queue.waiting(Lane::Urgent) as u64, Ordering::Relaxed);
                    break job;
                }
                if state.stopping {
                    return;
                }
                state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let Job { provider, submitted, work, failed } = job;
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let took = started.elapsed();
        {
            let mut state = shared.state();
            state.busy -= 1;
            state.done += 1;
            state.waited.saturating_record((started - submitted).as_micros() as u64);
            state.took.saturating_record(took.as_micros() as u64);
            state.panicked += u64::from(outcome.is_err());
        }
        if let Err(panic) = outcome {
            let reason = panic_text(panic.as_ref());
            tracing::error!(provider, reason, "an inference job panicked");
            let _ = catch_unwind(AssertUnwindSafe(|| {
                failed(ProviderError::Failed {
                    provider: provider.into(),
                    reason: format!("internal error: {reason}"),
                });
            }));
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// The pool's figures at one moment; counters run since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Threads.
    pub threads: usize,
    /// Jobs running.
    pub busy: usize,
    /// Urgent jobs waiting.
    pub urgent_waiting: usize,
    /// Background jobs waiting.
    pub background_waiting: usize,
    /// Jobs that have run, panicked ones included.
    pub done: u64,
    /// Jobs turned away because their lane was full.
    pub refused: u64,
    /// Jobs dropped because newer work made them pointless.
    pub coalesced: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// From submission to start.
    pub waited: Spread,
    /// From start to end.
    pub took: Spread,
}

/// How a duration is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half are shorter.
    pub p50: Duration,
    /// 95 % are shorter.
    pub p95: Duration,
    /// 99 % are shorter.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        if histogram.is_empty() {
            return Self::default();
        }
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: Duration::from_micros(histogram.max()) }
    }
}

/// Copies of a model, one for each thread of the pool. A job borrows one and puts it back.
#[derive(Debug)]
pub struct Shelf<T> {
    free: Mutex<Vec<T>>,
}

impl<T> Shelf<T> {
    /// A shelf with these copies.
    #[must_use]
    pub fn new(copies: Vec<T>) -> Self {
        Self { free: Mutex::new(copies) }
    }

    /// Runs `use_it` with a copy. `None` when all are in use, which cannot happen when there are as many as
    /// pool threads and jobs borrow one at a time. When `use_it` panics the copy goes back all the same:
    /// models keep no state between calls.
    pub fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut copy = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let result = catch_unwind(AssertUnwindSafe(|| use_it(&mut copy)));
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
        match result {
            Ok(result) => Some(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A pool of one thread that is held by a gate until the sender is dropped or used.
    fn held(queue: usize) -> (Pool, mpsc::Sender<()>, mpsc::Receiver<()>) {
        let pool = Pool::start(PoolConfig { threads: 1, queue }).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let (running, started) = mpsc::channel();
        pool.submit(
            "gate",
            Lane::Urgent,
            None,
            move || {
                running.send(()).unwrap();
                let _ = gate.recv();
            },
            |_| (),
        )
        .unwrap();
        (pool, open, started)
    }

    #[test]
    fn a_full_pool_answers_busy_at_once_and_counts_it() {
        let (pool, open, started) = held(2);
        started.recv().unwrap();
        for _ in 0..2 {
            pool.submit("stt", Lane::Urgent, None, || (), |_| ()).unwrap();
        }
        let error = pool.submit("stt", Lane::Urgent, None, || (), |_| ()).unwrap_err();
        assert_eq!(error, ProviderError::Busy { provider: "stt".into(), waiting: 2 });
        let stats = pool.stats();
        assert_eq!((stats.refused, stats.urgent_waiting, stats.busy), (1, 2, 1));
        assert!(pool.urgent_waits());
        drop(open);
    }

    #[test]
    fn a_panic_is_reported_and_the_thread_serves_on() {
        let pool = Pool::start(PoolConfig { threads: 1, queue: 8 }).unwrap();
        let (tell, told) = mpsc::channel();
        let failed = tell.clone();
        pool.submit("tts", Lane::Urgent, None, || panic!("bad weights"), move |e| failed.send(e.to_string()).unwrap())
            .unwrap();
        pool.submit("tts", Lane::Urgent, None, move || tell.send("still here".to_owned()).unwrap(), |_| ()).unwrap();
        let heard: Vec<String> = told.iter().collect();
        assert_eq!(heard, ["tts failed: internal error: bad weights", "still here"]);
        assert_eq!(pool.stats().panicked, 1);
    }

    #[test]
    fn waiting_work_hears_of_the_end_of_the_pool() {
        let (pool, open, started) = held(8);
        started.recv().unwrap();
        let (tell, told) = mpsc::channel();
        pool.submit("stt", Lane::Background, None, || panic!("must not run"), move |e| tell.send(e).unwrap()).unwrap();
        let ending = std::thread::spawn(move || drop(pool));
        assert_eq!(told.recv().unwrap(), ProviderError::Stopped { provider: "stt".into() });
        drop(open);
        ending.join().unwrap();
    }

    #[test]
    fn cancelled_and_replaced_work_never_runs() {
        let (pool, open, started) = held(8);
        started.recv().unwrap();
        let (tell, told) = mpsc::channel();
        let (a, b) = (pool.new_stream(), pool.new_stream());
        for (stream, name) in [(a, "a1"), (b, "b1"), (a, "a2")] {
            let tell = tell.clone();
            pool.submit("stt", Lane::Background, Some(stream), move || tell.send(name).unwrap(), |_| ()).unwrap();
        }
        pool.cancel(b);
        pool.submit("stt", Lane::Background, None, move || tell.send("end").unwrap(), |_| ()).unwrap();
        drop(open);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["a2", "end"]);
        assert_eq!(pool.stats().coalesced, 2);
    }

    #[test]
    fn a_copy_comes_back_to_the_shelf_even_after_a_panic() {
        let shelf = Shelf::new(vec![1]);
        assert_eq!(shelf.with(|n| *n + 1), Some(2));
        assert!(catch_unwind(AssertUnwindSafe(|| shelf.with(|_| panic!("oops")))).is_err());
        assert_eq!(shelf.with(|n| shelf.with(|_| ()).is_none().then_some(*n)), Some(Some(1)));
    }
}

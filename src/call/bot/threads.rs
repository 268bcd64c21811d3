//! The threads that calls with bots run on: few, and each polls the calls that are due one after the other.
//!
//! Such a call has something to do twice in every turn of its line, a few microseconds each time. A runtime that spreads
//! work over all cores wakes a second thread for that as soon as two calls are due, and one that wakes for every task makes
//! a system call for each. Here all that the bell of a media worker wakes at once costs one.

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::task::unconstrained;

/// A call.
type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module. They start with the first call; dropping this ends them, and the calls that still run there.
#[derive(Debug)]
pub(in crate::call) struct BotThreads {
    count: usize,
    started: OnceLock<Vec<mpsc::UnboundedSender<Call>>>,
    next: AtomicUsize,
}

/// Gives a call up when it is dropped.
struct Hosted(AbortHandle);

impl Drop for Hosted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BotThreads {
    /// `count` threads, at least one. What keeps a media worker busy keeps one of them busy, so there are as many.
    pub(in crate::call) fn new(count: usize) -> Self {
        Self { count: count.max(1), started: OnceLock::new(), next: AtomicUsize::new(0) }
    }

    /// Runs a call to its end: on one of the threads, or where this is awaited when the system gives us none.
    pub(in crate::call) fn host(&self, call: Call) -> impl Future<Output = ()> + Send + 'static {
        let started = self.started.get_or_init(|| {
            let threads = (0..self.count).map(start).collect::<io::Result<Vec<_>>>();
            threads.inspect_err(|error| tracing::warn!(%error, "bot_threads_not_started")).unwrap_or_default()
        });
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let thread = turn.checked_rem(started.len()).and_then(|n| started.get(n)).cloned();
        async move {
            let Some(thread) = thread else { return call.await };
            let (over, ended) = oneshot::channel();
            let (abort, registration) = AbortHandle::new_pair();
            let call = Abortable::new(AssertUnwindSafe(call).catch_unwind(), registration);
            let call: Call = Box::pin(async move {
                // Nobody waits for one that was given up.
                let _ = over.send(call.await);
            });
            let hosted = Hosted(abort);
            // A thread ends only with all of this.
            let _ = thread.send(call);
            let outcome = ended.await;
            drop(hosted);
            if let Ok(Ok(Err(panic))) = outcome {
                resume_unwind(panic);
            }
        }
    }
}

fn start(n: usize) -> io::Result<mpsc::UnboundedSender<Call>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (sender, mut arriving) = mpsc::unbounded_channel::<Call>();
    std::thread::Builder::new().name(format!("bots-{n}")).spawn(move || {
        runtime.block_on(unconstrained(async {
            let mut calls = FuturesUnordered::new();
            loop {
                tokio::select! {
                    call = arriving.recv() => match call {
                        Some(call) => calls.push(call),
                        None => return,
                    },
                    Some(()) = calls.next() => {}
                }
            }
        }));
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::poll_immediate;
    use std::thread::current;

    #[tokio::test]
    async fn calls_run_on_threads_of_their_own_until_they_are_over_or_given_up() {
        let threads = BotThreads::new(1);
        let (told, name) = oneshot::channel();
        threads.host(Box::pin(async move { drop(told.send(current().name().map(str::to_owned))) })).await;
        assert!(name.await.unwrap().unwrap().starts_with("bots-"));
        let (held, gone) = oneshot::channel::<()>();
        let mut call = Box::pin(threads.host(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(held);
        })));
        assert!(poll_immediate(&mut call).await.is_none());
        drop(call);
        assert!(gone.await.is_err(), "dropped with the call");
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_call_alone() {
        let threads = BotThreads::new(1);
        let (go_on, wait) = oneshot::channel::<()>();
        let other = tokio::spawn(threads.host(Box::pin(async move { drop(wait.await) })));
        for _ in 0..8 {
            let panicked = tokio::spawn(threads.host(Box::pin(async { panic!("a bug") }))).await;
            assert!(panicked.unwrap_err().is_panic());
        }
        go_on.send(()).unwrap();
        other.await.unwrap();
    }
}

//! The threads that calls with bots run on: few, each with a runtime of its own.
//!
//! Such a call has something to do twice in every turn of its line, a few microseconds each time. A runtime that spreads
//! work over all cores wakes a second thread for that as soon as two calls are due, and moves them to and fro between them.

use std::io;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// See the module. They start with the first call; dropping this ends them, and the calls that still run there.
#[derive(Debug, Default)]
pub(in crate::call) struct BotThreads {
    started: OnceLock<Vec<(Handle, oneshot::Sender<()>)>>,
    next: AtomicUsize,
}

/// A call on one of the threads; dropping it gives the call up.
struct Hosted(JoinHandle<()>);

impl Drop for Hosted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BotThreads {
    /// Runs a call to its end: on one of the threads, or where this is awaited when the system gives us none.
    pub(in crate::call) fn host(
        &self,
        call: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let started = self.started.get_or_init(|| {
            let count = std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1);
            let threads = (0..count).map(start).collect::<io::Result<Vec<_>>>();
            threads.inspect_err(|error| tracing::warn!(%error, "bot_threads_not_started")).unwrap_or_default()
        });
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let thread = turn.checked_rem(started.len()).and_then(|n| started.get(n)).map(|(handle, _)| handle.clone());
        async move {
            let Some(thread) = thread else { return call.await };
            let mut hosted = Hosted(thread.spawn(call));
            if let Err(error) = (&mut hosted.0).await
                && let Ok(panic) = error.try_into_panic()
            {
                resume_unwind(panic);
            }
        }
    }
}

fn start(n: usize) -> io::Result<(Handle, oneshot::Sender<()>)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel();
    std::thread::Builder::new().name(format!("bots-{n}")).spawn(move || {
        // It ends when the other half is dropped.
        let _ = runtime.block_on(stopped);
    })?;
    Ok((handle, stop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::current;

    #[tokio::test]
    async fn calls_run_on_threads_of_their_own_until_they_are_over_or_given_up() {
        let threads = BotThreads::default();
        let (told, name) = oneshot::channel();
        threads.host(async move { drop(told.send(current().name().map(str::to_owned))) }).await;
        assert!(name.await.unwrap().unwrap().starts_with("bots-"));
        let (held, gone) = oneshot::channel::<()>();
        let mut call = Box::pin(threads.host(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        assert!(futures_util::future::poll_immediate(&mut call).await.is_none());
        drop(call);
        assert!(gone.await.is_err(), "dropped with the call");
    }
}

//! Tells a wake-up apart: whether it came from what hardly ever happens.

use futures_util::task::{ArcWake, AtomicWaker, waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

/// A waker of its own for the futures that hardly ever have something, so that they are not polled whenever the task is
/// woken by others. They must not forget who waits for them when they are dropped, as those of channels do not.
#[derive(Debug)]
pub(super) struct Notice {
    state: Arc<State>,
    waker: Waker,
}

#[derive(Debug)]
struct State {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl ArcWake for State {
    fn wake_by_ref(state: &Arc<Self>) {
        state.woken.store(true, Ordering::Release);
        state.task.wake();
    }
}

impl Notice {
    /// One that asks for a first poll.
    pub(super) fn new() -> Self {
        let state = Arc::new(State { woken: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { waker: waker(Arc::clone(&state)), state }
    }

    /// Whether the futures are to be polled, [by its own waker](Self::waker). From here on it wakes the task of `cx`.
    pub(super) fn is_due(&self, cx: &Context<'_>) -> bool {
        self.state.task.register(cx.waker());
        self.state.woken.swap(false, Ordering::AcqRel)
    }

    /// They are to be polled again.
    pub(super) fn again(&self) {
        self.state.woken.store(true, Ordering::Release);
    }

    /// To poll them with.
    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    #[test]
    fn what_hardly_ever_happens_is_looked_at_first_and_whenever_it_has_woken_its_waker() {
        let task = noop_waker();
        let (notice, cx) = (Notice::new(), Context::from_waker(&task));
        assert!(notice.is_due(&cx) && !notice.is_due(&cx));
        notice.waker().wake_by_ref();
        assert!(notice.is_due(&cx) && !notice.is_due(&cx));
        notice.again();
        assert!(notice.is_due(&cx));
    }
}

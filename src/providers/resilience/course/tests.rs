use super::*;
use std::sync::Mutex;

/// Answers with scripted items, each after a wait.
#[derive(Default)]
struct Scripted {
    name: &'static str,
    script: Mutex<Vec<Vec<(u64, Result<u32, ProviderError>)>>>,
    asked: AtomicU64,
}

impl Scripted {
    fn new(name: &'static str, script: Vec<Vec<(u64, Result<u32, ProviderError>)>>) -> Arc<Self> {
        Arc::new(Self { name, script: Mutex::new(script), asked: AtomicU64::new(0) })
    }
}

fn gone() -> ProviderError {
    ProviderError::Transient { provider: "s".into(), reason: "gone".into() }
}

/// Wants the numbers 1 to 4; after a failure the rest can be had elsewhere.
struct Count {
    next: u32,
    goes_on: bool,
    hedge: Option<Duration>,
}

impl Leg for Count {
    type Provider = Scripted;
    type Item = u32;
    fn start(&self, provider: &Scripted) -> Result<mpsc::Receiver<Result<u32, ProviderError>>, ProviderError> {
        provider.asked.fetch_add(1, Ordering::Relaxed);
        let mut script = provider.script.lock().unwrap();
        if script.is_empty() {
            return Err(gone());
        }
        let items = script.remove(0);
        let (sender, receiver) = mpsc::channel(8);
        let from = self.next;
        tokio::spawn(async move {
            for (wait, item) in items {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                if item.as_ref().is_ok_and(|n| *n < from) {
                    continue;
                }
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
    fn hedge_after(&self, _: &Scripted, _: HedgeTerms) -> Option<Duration> {
        self.hedge
    }
    fn pass(&mut self, item: u32) -> u32 {
        self.next = item + 1;
        item
    }
    fn may_go_on(&self) -> bool {
        self.goes_on
    }
    fn is_whole(&self) -> bool {
        self.next == 5
    }
}

fn whole() -> Vec<(u64, Result<u32, ProviderError>)> {
    (1..=4).map(|n| (10, Ok(n))).collect()
}

async fn ask(
    providers: &[&Arc<Scripted>],
    leg: Count,
    hedging: &Arc<Hedging>,
) -> (Vec<u32>, Option<ProviderError>, Duration) {
    let members: Arc<[_]> = providers.iter().map(|p| Member::new(Arc::clone(*p))).collect();
    run_with(members, leg, hedging).await
}

async fn run_with(
    members: Arc<[Member<Scripted>]>,
    leg: Count,
    hedging: &Arc<Hedging>,
) -> (Vec<u32>, Option<ProviderError>, Duration) {
    let began = Instant::now();
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(run(leg, members, Arc::clone(hedging), sender));
    let (mut got, mut failed, mut first) = (Vec::new(), None, Duration::MAX);
    while let Some(item) = receiver.recv().await {
        match item {
            Ok(n) => {
                first = first.min(began.elapsed());
                got.push(n);
            }
            Err(error) => failed = Some(error),
        }
    }
    (got, failed, first)
}

fn plain() -> Count {
    Count { next: 1, goes_on: true, hedge: None }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_refuses_or_fails_at_once_is_followed_by_the_next() {
    for script in [vec![], vec![vec![(5, Err(gone()))]], vec![vec![]]] {
        let (a, b) = (Scripted::new("a", script), Scripted::new("b", vec![whole()]));
        let (got, failed, _) = ask(&[&a, &b], plain(), &Arc::default()).await;
        assert_eq!((got, failed), (vec![1, 2, 3, 4], None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_goes_on_elsewhere_where_it_stopped() {
    let broken = vec![vec![(10, Ok(1)), (10, Ok(2)), (10, Err(gone()))]];
    let (a, b) = (Scripted::new("a", broken), Scripted::new("b", vec![whole()]));
    let (got, failed, _) = ask(&[&a, &b], plain(), &Arc::default()).await;
    assert_eq!((got, failed), (vec![1, 2, 3, 4], None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_go_on_elsewhere_ends_with_its_error() {
    let broken = vec![vec![(10, Ok(1)), (10, Err(gone()))]];
    let (a, b) = (Scripted::new("a", broken), Scripted::new("b", vec![whole()]));
    let leg = Count { goes_on: false, ..plain() };
    let (got, failed, _) = ask(&[&a, &b], leg, &Arc::default()).await;
    assert_eq!((got, failed), (vec![1], Some(gone())));
    assert_eq!(b.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_last_error_is_told() {
    let (a, b) = (Scripted::new("a", vec![]), Scripted::new("b", vec![]));
    let (got, failed, _) = ask(&[&a, &b], plain(), &Arc::default()).await;
    assert_eq!((got, failed), (vec![], Some(gone())));
}

#[tokio::test(start_paused = true)]
async fn a_late_first_word_has_a_second_provider_asked_and_the_faster_one_serves() {
    let slow = vec![vec![(5_000, Ok(1)), (0, Ok(2)), (0, Ok(3)), (0, Ok(4))]];
    let (a, b) = (Scripted::new("a", slow), Scripted::new("b", vec![whole()]));
    let leg = Count { hedge: Some(Duration::from_millis(300)), ..plain() };
    let hedging = Arc::new(Hedging::default());
    let (got, failed, first) = ask(&[&a, &b], leg, &hedging).await;
    assert_eq!((got, failed), (vec![1, 2, 3, 4], None));
    assert_eq!(first, Duration::from_millis(310));
    assert_eq!(hedging.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_whose_partner_fails_is_all_there_is() {
    for (slow, quick) in [
        (vec![vec![(400, Err(gone()))]], vec![(500, Ok(1)), (0, Ok(2)), (0, Ok(3)), (0, Ok(4))]),
        (vec![vec![(900, Ok(1)), (0, Ok(2)), (0, Ok(3)), (0, Ok(4))]], vec![(10, Err(gone()))]),
    ] {
        let (a, b) = (Scripted::new("a", slow), Scripted::new("b", vec![quick]));
        let leg = Count { hedge: Some(Duration::from_millis(300)), ..plain() };
        let (got, failed, _) = ask(&[&a, &b], leg, &Arc::default()).await;
        assert_eq!((got, failed), (vec![1, 2, 3, 4], None));
    }
}

#[test]
fn hedges_stay_within_their_share() {
    let hedging = Hedging::default();
    let mut taken = 0;
    for _ in 0..1_000 {
        hedging.began();
        taken += u64::from(hedging.take());
    }
    assert_eq!(taken, 100);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_rests_is_passed_over_by_the_next_calls() {
    let (a, b) = (Scripted::new("a", vec![]), Scripted::new("b", (0..4).map(|_| whole()).collect()));
    let members: Arc<[_]> = [&a, &b].iter().map(|p| Member::new(Arc::clone(*p))).collect();
    for _ in 0..4 {
        let (got, _, _) = run_with(Arc::clone(&members), plain(), &Arc::default()).await;
        assert_eq!(got.len(), 4);
    }
    assert_eq!(a.asked.load(Ordering::Relaxed), 2, "{} rests after two failures", a.name);
}

#[tokio::test(start_paused = true)]
async fn nobody_listening_ends_the_request_and_says_nothing_about_health() {
    let a = Scripted::new("a", vec![vec![(60_000, Ok(1))]]);
    let members: Arc<[_]> = Arc::new([Member::new(Arc::clone(&a))]);
    let (sender, receiver) = mpsc::channel(1);
    let task = tokio::spawn(run(plain(), Arc::clone(&members), Arc::default(), sender));
    tokio::time::sleep(Duration::from_millis(10)).await;
    drop(receiver);
    task.await.unwrap();
    assert!(members[0].health.admit());
}

use super::*;
use std::sync::Mutex;

/// Items of an answer, each after so many milliseconds.
type Items = Vec<(u64, Result<u32, ProviderError>)>;

/// Answers with scripted items, each after a wait.
#[derive(Default)]
struct Scripted {
    name: &'static str,
    script: Mutex<Vec<Items>>,
    asked: AtomicU64,
}

impl Scripted {
    fn new(name: &'static str, script: Vec<Items>) -> Arc<Self> {
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
    patience: Option<Duration>,
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
    fn name(&self, provider: &Scripted) -> ProviderName {
        provider.name.into()
    }
    fn patience(&self, _: &Scripted) -> Option<Duration> {
        self.patience
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
    Count { next: 1, goes_on: true, hedge: None, patience: None }
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

const PATIENCE: Duration = Duration::from_secs(1);

fn patient() -> Count {
    Count { patience: Some(PATIENCE), ..plain() }
}

/// The numbers, the first of them after so many milliseconds.
fn after(first: u64) -> Vec<(u64, Result<u32, ProviderError>)> {
    vec![(first, Ok(1)), (0, Ok(2)), (0, Ok(3)), (0, Ok(4))]
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_late_has_the_next_asked_besides_and_a_slow_one_may_still_win() {
    for (slow, next, first) in [(60_000, 300, 1_300), (1_200, 300, 1_200), (900, 10, 900), (1_400, 100, 1_100)] {
        let (a, b) = (Scripted::new("a", vec![after(slow)]), Scripted::new("b", vec![after(next)]));
        let (got, failed, took) = ask(&[&a, &b], patient(), &Arc::default()).await;
        assert_eq!((got, failed, took), (vec![1, 2, 3, 4], None, Duration::from_millis(first)), "{slow} {next}");
        assert_eq!(b.asked.load(Ordering::Relaxed), u64::from(slow > 1_000));
    }
}

#[tokio::test(start_paused = true)]
async fn one_after_the_other_is_asked_while_all_are_silent() {
    let silent = || Scripted::new("s", vec![after(60_000)]);
    let (a, b, c) = (silent(), silent(), Scripted::new("c", vec![after(200)]));
    let (got, _, took) = ask(&[&a, &b, &c], patient(), &Arc::default()).await;
    assert_eq!((got.len(), took), (4, Duration::from_millis(2_200)));
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_while_the_other_is_late_is_followed_at_once() {
    let a = Scripted::new("a", vec![after(60_000)]);
    let b = Scripted::new("b", vec![vec![(50, Err(gone()))]]);
    let c = Scripted::new("c", vec![after(100)]);
    let (got, _, took) = ask(&[&a, &b, &c], patient(), &Arc::default()).await;
    assert_eq!((got.len(), took), (4, Duration::from_millis(1_150)));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_was_late_and_lost_has_failed_and_one_that_was_only_slower_has_not() {
    for (slow, hedge, rests) in [(60_000, None, true), (60_000, Some(Duration::from_millis(300)), false)] {
        let a = Scripted::new("a", vec![after(slow), after(slow)]);
        let b = Scripted::new("b", vec![after(10), after(10)]);
        let members: Arc<[_]> = [&a, &b].iter().map(|p| Member::new(Arc::clone(*p))).collect();
        let hedging = Arc::new(Hedging::new(HedgeTerms { percent: 100, ..HedgeTerms::default() }));
        for _ in 0..2 {
            run_with(Arc::clone(&members), Count { hedge, ..patient() }, &hedging).await;
        }
        assert_eq!(!members[0].health.admit(), rests, "{hedge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_provider_costs_no_hedge_of_the_share() {
    let (a, b) = (Scripted::new("a", vec![after(5_000)]), Scripted::new("b", vec![after(10)]));
    let hedging = Arc::new(Hedging::default());
    ask(&[&a, &b], patient(), &hedging).await;
    assert_eq!(hedging.counts(), (1, 0));
}

/// Whatever three providers do, the numbers come whole and in order or with an error at the end, and the first one within
/// the patience with those that say nothing, and one that can answer is not missed.
#[tokio::test(start_paused = true)]
async fn whatever_providers_do_a_request_ends_in_time() {
    let mut random = crate::base::Random::seeded(11);
    for round in 0..500 {
        let mut could = false;
        let mut providers = Vec::new();
        for name in ["a", "b", "c"] {
            // Adapters have deadlines of their own.
            let wait = random.below(1_400);
            let script = match random.below(5) {
                0 => None,
                1 => Some(vec![(wait, Err(gone()))]),
                2 => Some(vec![(1_400, Err(gone()))]),
                3 => Some(vec![(wait, Ok(1)), (10, Ok(2)), (10, Err(gone()))]),
                _ => {
                    could = true;
                    Some(after(random.below(900)))
                }
            };
            // One that lost a race may be asked once more.
            providers
                .push(Scripted::new(name, script.into_iter().flat_map(|script| [script.clone(), script]).collect()));
        }
        let hedge = (random.below(2) == 0).then(|| Duration::from_millis(random.below(900)));
        let leg = Count { hedge, ..patient() };
        let refs: Vec<_> = providers.iter().collect();
        let began = Instant::now();
        let (got, failed, first) = ask(&refs, leg, &Arc::default()).await;
        let in_order: Vec<u32> = (1..).take(got.len()).collect();
        assert_eq!(got, in_order, "round {round}");
        if could {
            assert_eq!((got.len(), failed), (4, None), "round {round}");
            assert!(first <= PATIENCE * 2 + Duration::from_millis(900), "round {round}: {first:?}");
        } else {
            assert!(failed.is_some() || got.len() == 4, "round {round}");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "round {round}");
    }
}

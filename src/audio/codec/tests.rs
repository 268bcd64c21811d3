use super::*;

#[test]
fn ticks_of_the_clock_follow_the_rfcs_and_not_the_samples() {
    assert_eq!(Coding::Pcmu.ticks(160), 160);
    assert_eq!(Coding::G722.ticks(320), 160);
    assert_eq!(Coding::G722.samples(160), 320);
    for khz in [8, 16, 24, 48] {
        let coding = Coding::Opus(OpusSettings { sample_rate: SampleRate(khz * 1_000), ..OpusSettings::VOICE });
        assert_eq!(coding.ticks(20 * khz as usize), 960);
        assert_eq!(coding.samples(960), 20 * khz as usize);
    }
}

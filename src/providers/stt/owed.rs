//! Which request for words a vendor's answer answers, for one that names none and answers in order.
//!
//! A request that is not answered in time is given up, and what comes of it after all belongs to what was said then. A
//! vendor that answers for certain is still owed that answer, so the next one to come is it, up to [`super::limits::LATE`].

/// The requests of one connection, by their number since it began; the session counts them alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    asked: u64,
    answered: u64,
    given_up: u64,
}

/// What an answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// To nothing that was asked.
    Unasked,
    /// To a request that is waited for.
    InTime,
    /// To this request, which was given up.
    Overdue(u64),
}

impl Owed {
    /// The vendor is asked once more.
    pub(super) fn ask(&mut self) {
        self.asked += 1;
    }

    /// What was asked so far is given up; its answers are owed only where the vendor answers for certain.
    pub(super) fn give_up(&mut self, is_certain: bool) {
        self.given_up = self.asked;
        if !is_certain {
            self.forget();
        }
    }

    /// What was given up will not come.
    pub(super) fn forget(&mut self) {
        self.answered = self.answered.max(self.given_up);
    }

    /// Whether an answer is waited for.
    pub(super) fn is_waited_for(&self) -> bool {
        self.asked > self.answered.max(self.given_up)
    }

    /// The request given up that the next answer answers, and what comes before that answer.
    pub(super) fn overdue(&self) -> Option<u64> {
        (self.answered < self.given_up).then_some(self.answered + 1)
    }

    /// An answer to the oldest request.
    pub(super) fn answered(&mut self) -> Answer {
        match self.overdue() {
            _ if self.answered >= self.asked => Answer::Unasked,
            Some(request) => {
                self.answered = request;
                Answer::Overdue(request)
            }
            None => {
                self.answered += 1;
                Answer::InTime
            }
        }
    }

    /// One answer for all that were made of one turn: those given up, else those waited for.
    pub(super) fn all_answered(&mut self) -> Answer {
        match self.answered() {
            Answer::Overdue(_) => {
                self.answered = self.given_up;
                Answer::Overdue(self.given_up)
            }
            Answer::InTime => {
                self.answered = self.asked;
                Answer::InTime
            }
            Answer::Unasked => Answer::Unasked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_is_that_of_the_request_given_up_and_the_next_one_is_in_time() {
        let mut owed = Owed::default();
        assert_eq!(owed.answered(), Answer::Unasked);
        owed.ask();
        owed.give_up(true);
        owed.ask();
        assert_eq!((owed.overdue(), owed.is_waited_for()), (Some(1), true));
        assert_eq!(owed.answered(), Answer::Overdue(1));
        assert_eq!((owed.overdue(), owed.answered(), owed.answered()), (None, Answer::InTime, Answer::Unasked));
    }

    #[test]
    fn an_answer_that_will_not_come_deafens_nobody() {
        let mut owed = Owed::default();
        for is_certain in [true, false] {
            owed.ask();
            owed.give_up(is_certain);
            if is_certain {
                owed.forget();
            }
            owed.ask();
            assert_eq!(owed.answered(), Answer::InTime);
            assert!(!owed.is_waited_for());
        }
    }

    #[test]
    fn the_end_of_a_turn_answers_all_that_was_asked_of_it() {
        let mut owed = Owed::default();
        (0..2).for_each(|_| owed.ask());
        owed.give_up(true);
        (0..2).for_each(|_| owed.ask());
        assert_eq!([owed.all_answered(), owed.all_answered()], [Answer::Overdue(2), Answer::InTime]);
        assert_eq!(owed.all_answered(), Answer::Unasked);
    }
}

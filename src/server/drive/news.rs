//! What a session is to be told next.
use crate::proto::session::Input;
use alloc::collections::VecDeque;

/// Inputs in their order. Mostly it is one at a time, and that takes no memory but its own: a queue allocated each time took 350 of
/// the 9100 instructions of a SIZE (callgrind).
#[derive(Default)]
pub(super) enum News {
    #[default]
    Nothing,
    One(Input<'static>),
    /// Two or more have come; it holds one at least.
    Several(VecDeque<Input<'static>>),
}

impl News {
    pub(super) fn push(&mut self, input: Input<'static>) {
        *self = match core::mem::take(self) {
            Self::Nothing => Self::One(input),
            Self::One(first) => Self::Several([first, input].into()),
            Self::Several(mut inputs) => {
                inputs.push_back(input);
                Self::Several(inputs)
            }
        };
    }

    pub(super) fn pop(&mut self) -> Option<Input<'static>> {
        match self {
            Self::Nothing => None,
            Self::One(_) => match core::mem::take(self) {
                Self::One(input) => Some(input),
                Self::Nothing | Self::Several(_) => None,
            },
            Self::Several(inputs) => {
                let first = inputs.pop_front();
                if inputs.is_empty() {
                    *self = Self::Nothing;
                }
                first
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_out_in_order_and_leave_nothing_behind() {
        let mut news = News::default();
        for count in 0..4 {
            assert!(matches!(news, News::Nothing));
            (0..count).for_each(|number| news.push(Input::Sent(number)));
            for number in 0..count {
                assert_eq!(news.pop(), Some(Input::Sent(number)));
            }
            assert_eq!(news.pop(), None);
        }
        news.push(Input::Sent(1));
        news.push(Input::Sent(2));
        assert_eq!(news.pop(), Some(Input::Sent(1)));
        news.push(Input::Sent(3));
        assert_eq!([news.pop(), news.pop(), news.pop()], [Some(Input::Sent(2)), Some(Input::Sent(3)), None]);
    }
}

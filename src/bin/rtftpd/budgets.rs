//! The options that say how much clients may cause.

use crate::typed::whole;
use crate::values::{Size, rate};
use std::num::{NonZeroU32, NonZeroU64};
use tftpkit::limits;
use tftpkit::server::Budgets;

#[derive(Debug, clap::Args)]
pub(crate) struct BudgetArgs {
    /// Transfers at once of one network (an IPv4 /24, an IPv6 /56) [default: three quarters of --max-sessions]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=u64::MAX), env = "RTFTPD_NETWORK_SESSIONS")]
    network_sessions: Option<usize>,

    /// Transfers at once whose clients have not answered yet, of one network and of all [default: a quarter and three
    /// quarters of --max-sessions]
    #[arg(long, value_names = ["NETWORK", "ALL"], num_args = 2, value_parser = whole::<usize>(1..=u64::MAX),
        value_delimiter = ',', env = "RTFTPD_UNPROVEN_SESSIONS")]
    unproven_sessions: Option<Vec<usize>>,

    /// Requests in a second of one network and of all, and four times as many at once; the rest is dropped
    #[arg(long, value_names = ["NETWORK", "ALL"], num_args = 2, value_parser = whole::<u32>(1..=u32::MAX.into()),
        default_values_t = [limits::REQUESTS_PER_SECOND, limits::ALL_REQUESTS_PER_SECOND],
        value_delimiter = ',', env = "RTFTPD_REQUEST_RATE")]
    request_rate: Vec<u32>,

    /// Answers in a second that are longer than what they answer and begin no transfer, to one network and to all, and four
    /// times as many at once; after that errors go without their text
    #[arg(long, value_names = ["NETWORK", "ALL"], num_args = 2, value_parser = whole::<u32>(0..=u32::MAX.into()),
        default_values_t = [limits::ERRORS_PER_SECOND, limits::ALL_ERRORS_PER_SECOND],
        value_delimiter = ',', env = "RTFTPD_ERROR_RATE")]
    error_rate: Vec<u32>,

    /// With --single-port: bytes in a second to one network and to all whose addresses have not shown that they hear; K, M
    /// and G may follow the number
    #[arg(long, value_names = ["NETWORK", "ALL"], num_args = 2, value_parser = rate,
        default_values_t = [Size(limits::UNHEARD_RATE_OF_NETWORK as u64), Size(limits::UNHEARD_RATE as u64)],
        value_delimiter = ',', env = "RTFTPD_UNHEARD_RATE")]
    unheard_rate: Vec<Size>,

    /// Bytes in a second that all downloads together take; their clients share them fairly [default: as many as they
    /// can]
    #[arg(long, value_name = "SIZE", value_parser = rate, env = "RTFTPD_RATE")]
    rate: Option<Size>,
}

impl BudgetArgs {
    /// What they mean together.
    pub(crate) fn budgets(&self) -> Budgets {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let small = |size: &Size| at_least_one(u32::try_from(size.0).unwrap_or(u32::MAX));
        let budgets = Budgets::default()
            .rate(self.rate.and_then(|rate| NonZeroU64::new(rate.0)))
            .requests(at_least_one(self.request_rate[0]), at_least_one(self.request_rate[1]))
            .errors(self.error_rate[0], self.error_rate[1])
            .unheard(small(&self.unheard_rate[0]), small(&self.unheard_rate[1]));
        let budgets = match self.network_sessions {
            Some(most) => budgets.sessions_of_network(most),
            None => budgets,
        };
        match self.unproven_sessions.as_deref() {
            Some([of_network, all]) => budgets.unproven_sessions(*of_network, *all),
            _ => budgets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: BudgetArgs,
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let Alone { args } = Alone::parse_from(["alone"]);
        assert_eq!(args.budgets(), Budgets::default());
    }

    #[test]
    fn each_option_is_for_its_own_bound_of_one_network_and_of_all() {
        let (default, of) = (Budgets::default, |n| NonZeroU32::new(n).expect("one at least"));
        let cases = [
            ("--network-sessions 5", default().sessions_of_network(5)),
            ("--unproven-sessions 6 7", default().unproven_sessions(6, 7)),
            ("--request-rate 3 4", default().requests(of(3), of(4))),
            ("--error-rate 0 9", default().errors(0, 9)),
            ("--unheard-rate 10K 11K", default().unheard(of(10 << 10), of(11 << 10))),
            ("--unheard-rate 5G 6G", default().unheard(NonZeroU32::MAX, NonZeroU32::MAX)),
            ("--rate 12K", default().rate(NonZeroU64::new(12 << 10))),
        ];
        for (option, expected) in cases {
            let Alone { args } = Alone::parse_from(["alone"].into_iter().chain(option.split(' ')));
            assert_eq!(args.budgets(), expected, "{option}");
            assert_ne!(expected, default(), "{option}");
        }
    }
}

//! The command line of `rareclip doctor`.

use clap::Args as ClapArgs;

use crate::config_args::ConfigArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

//! A deployed stack's tables.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_cloudformation::config::ProvideCredentials as _;
use aws_sdk_cloudformation::config::retry::RetryConfig;
use aws_sdk_cloudformation::config::timeout::TimeoutConfig;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_cloudformation::operation::describe_stack_resource::DescribeStackResourceError;
use aws_sdk_cloudformation::types::ResourceStatus;
use aws_sdk_dynamodb::Client;

use shared::dynamo::{self, Transport};
use std::time::Duration;

/// The account and region that the AWS profile or the environment says, whatever kind of credentials it
/// has.
#[derive(Debug)]
pub struct Account(SdkConfig);

impl Account {
    /// Finds region and credentials. The error is a line to print.
    pub async fn find() -> Result<Self, String> {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(Transport::new().map_err(no_tls)?)
            .load()
            .await;
        Self::of(config).await
    }

    /// The account of a configuration. The error is a line to print: there is no region, or there are no
    /// credentials.
    pub async fn of(config: SdkConfig) -> Result<Self, String> {
        if config.region().is_none() {
            return Err("no AWS region: set AWS_REGION, or a region in the profile".to_owned());
        }
        let credentials = match config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.is_ok(),
            None => false,
        };
        if !credentials {
            return Err(
                "no AWS credentials: log in (aws sso login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
            );
        }
        Ok(Self(config))
    }

    /// A client of its DynamoDB. The error is a line to print.
    pub fn dynamodb(&self) -> Result<Client, String> {
        dynamo::client_of(&self.0).map_err(no_tls)
    }

    /// The table that CloudFormation made for a resource of a stack: as the stack knows it, since tables of
    /// earlier stacks of its name may be there too. The error is a line to print.
    pub async fn table(&self, stack: &str, resource: &str) -> Result<String, String> {
        let config = aws_sdk_cloudformation::config::Builder::from(&self.0)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(Duration::from_secs(20))
                    .build(),
            )
            .build();
        let described = aws_sdk_cloudformation::Client::from_conf(config)
            .describe_stack_resource()
            .stack_name(stack)
            .logical_resource_id(resource)
            .send()
            .await
            .map_err(|error| self.refused(stack, resource, &error))?;
        let detail = described.stack_resource_detail();
        let status = detail.and_then(|detail| detail.resource_status());
        let name = detail
            .and_then(|detail| detail.physical_resource_id())
            .filter(|name| !name.is_empty());
        match (name, status) {
            (
                _,
                Some(
                    ResourceStatus::DeleteComplete
                    | ResourceStatus::DeleteInProgress
                    | ResourceStatus::DeleteSkipped,
                ),
            ) => Err(format!(
                "the stack {stack} is deleted, or being deleted: name its tables, which outlive it"
            )),
            (Some(name), _) => Ok(name.to_owned()),
            (None, _) => Err(format!(
                "the stack {stack} has no {resource} yet: wait until it is deployed"
            )),
        }
    }

    /// Why CloudFormation did not say, in one line, and what to do.
    fn refused(&self, stack: &str, resource: &str, error: &SdkError<DescribeStackResourceError>) -> String {
        let region = self.0.region().map_or("", |region| region.as_ref());
        let message = error.message().unwrap_or_default();
        match error.code() {
            // "Stack 'x' does not exist" is also what a deleted stack's name gets.
            Some("ValidationError") if message.starts_with("Stack ") => format!(
                "there is no stack {stack} in {region} of this account: check the name, AWS_REGION and AWS_PROFILE; \
                 of a deleted stack, name the tables"
            ),
            Some("ValidationError") if message.starts_with("Resource ") => {
                format!("the stack {stack} has no {resource}: it is no stack of Hindsight")
            }
            Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation") => format!(
                "not allowed to look into the stack {stack}: these credentials need cloudformation:DescribeStackResource"
            ),
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "SignatureDoesNotMatch"
                | "UnrecognizedClientException",
            ) => "the AWS credentials are expired or not valid: log in again (aws sso login)".to_owned(),
            Some(code) => format!(
                "cannot look into the stack {stack}: {code}: {}",
                one_line(message)
            ),
            None => format!("cannot reach CloudFormation in {region}: {}", below(error)),
        }
    }
}

fn no_tls(error: impl std::fmt::Display) -> String {
    format!("cannot set up TLS: {error}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The innermost cause of an error, which says what happened; the ones around it say where.
fn below(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(&innermost.to_string())
}

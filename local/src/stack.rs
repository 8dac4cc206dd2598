//! The tables and the URL of a deployed stack.

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

/// An AWS account and region, from the environment or the AWS profile.
#[derive(Debug)]
pub struct Account(SdkConfig);

impl Account {
    /// Loads region and credentials.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub async fn find() -> Result<Self, String> {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(Transport::new().map_err(no_tls)?)
            .load()
            .await;
        Self::of(config).await
    }

    /// The account of a configuration.
    ///
    /// # Errors
    ///
    /// One line to print, if there is no region or there are no credentials.
    pub async fn of(config: SdkConfig) -> Result<Self, String> {
        if config.region().is_none() {
            return Err("no AWS region: set AWS_REGION, or the region of your AWS profile".to_owned());
        }
        let has_credentials = match config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await.is_ok(),
            None => false,
        };
        if has_credentials {
            Ok(Self(config))
        } else {
            Err(
                "no AWS credentials: log in (aws sso login), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
            )
        }
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.0
    }

    /// A client of the account's DynamoDB.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub fn dynamodb(&self) -> Result<Client, String> {
        dynamo::client_of(&self.0).map_err(no_tls)
    }

    /// The URL of a stack's API, without a final slash: the operator's own domain if it has one.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub async fn base_url(&self, stack: &str) -> Result<String, String> {
        // A stack has one if DomainName is given. Its API works at its first address too.
        if let Ok(domain) = self.resource(stack, "Domain").await {
            return Ok(format!("https://{domain}"));
        }
        let api = self.resource(stack, "HttpApi").await?;
        let region = self.0.region().map_or("", |region| region.as_ref());
        // CloudFormation's AWS::URLSuffix.
        let suffix = match region.starts_with("cn-") {
            true => "amazonaws.com.cn",
            false => "amazonaws.com",
        };
        Ok(format!("https://{api}.execute-api.{region}.{suffix}"))
    }

    /// The physical id of a resource of a stack, such as a table's name. It asks CloudFormation, because tables of deleted
    /// stacks of the same name may exist too.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub async fn resource(&self, stack: &str, resource: &str) -> Result<String, String> {
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
            .map_err(|error| self.explain(stack, resource, &error))?;
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
                "stack {stack} is deleted or being deleted: give the names of its tables, which still exist"
            )),
            (Some(name), _) => Ok(name.to_owned()),
            (None, _) => Err(format!(
                "stack {stack} has no {resource} yet: wait until it is deployed"
            )),
        }
    }

    /// What CloudFormation's error means and what to do, in one line.
    fn explain(&self, stack: &str, resource: &str, error: &SdkError<DescribeStackResourceError>) -> String {
        let region = self.0.region().map_or("", |region| region.as_ref());
        let message = error.message().unwrap_or_default();
        match error.code() {
            // A deleted stack's name gets this too.
            Some("ValidationError") if message.starts_with("Stack ") => format!(
                "no stack {stack} in {region} of this account: check the name, AWS_REGION and AWS_PROFILE; for a \
                 deleted stack, give the names of its tables"
            ),
            Some("ValidationError") if message.starts_with("Resource ") => {
                format!("stack {stack} has no {resource}: it is not a Hindsight stack")
            }
            Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation") => format!(
                "no access to stack {stack}: these AWS credentials need cloudformation:DescribeStackResource"
            ),
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "SignatureDoesNotMatch"
                | "UnrecognizedClientException",
            ) => "the AWS credentials are expired or invalid: log in again (aws sso login)".to_owned(),
            Some(code) => format!("cannot read stack {stack}: {code}: {}", one_line(message)),
            None => format!("cannot reach CloudFormation in {region}: {}", root_cause(error)),
        }
    }
}

fn no_tls(error: impl std::fmt::Display) -> String {
    format!("cannot set up TLS: {error}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The innermost cause of an error, in one line: it says what happened, the outer ones only where.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    one_line(&innermost.to_string())
}

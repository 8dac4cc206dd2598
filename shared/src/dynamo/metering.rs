//! Metering what an invocation's calls consume, in DynamoDB's request units.

use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::batch_get_item::{BatchGetItemInput, BatchGetItemOutput};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemInput, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemInput, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryInput, QueryOutput};
use aws_sdk_dynamodb::operation::scan::{ScanInput, ScanOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemInput, UpdateItemOutput};
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};

use crate::invocation::{Invocation, Units};

/// Requests the consumed capacity in every call of an invocation, and adds it up.
#[derive(Debug)]
pub(super) struct Metering;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Metering {
    fn name(&self) -> &'static str {
        "Metering"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if Invocation::current().is_some() {
            ask(context.input_mut());
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(invocation) = Invocation::current()
            && let Ok(output) = context.output_or_error()
        {
            invocation.consume(consumed(output));
        }
        Ok(())
    }
}

/// Makes a request ask for its consumed capacity.
fn ask(input: &mut Input) {
    let total = Some(ReturnConsumedCapacity::Total);
    if let Some(get) = input.downcast_mut::<GetItemInput>() {
        get.return_consumed_capacity = total;
    } else if let Some(query) = input.downcast_mut::<QueryInput>() {
        query.return_consumed_capacity = total;
    } else if let Some(scan) = input.downcast_mut::<ScanInput>() {
        scan.return_consumed_capacity = total;
    } else if let Some(get) = input.downcast_mut::<BatchGetItemInput>() {
        get.return_consumed_capacity = total;
    } else if let Some(put) = input.downcast_mut::<PutItemInput>() {
        put.return_consumed_capacity = total;
    } else if let Some(update) = input.downcast_mut::<UpdateItemInput>() {
        update.return_consumed_capacity = total;
    } else if let Some(delete) = input.downcast_mut::<DeleteItemInput>() {
        delete.return_consumed_capacity = total;
    } else if let Some(transaction) = input.downcast_mut::<TransactWriteItemsInput>() {
        transaction.return_consumed_capacity = total;
    }
}

/// Reads the consumed capacity from a response.
fn consumed(output: &Output) -> Units {
    let total = |capacity: Option<&ConsumedCapacity>| capacity.and_then(ConsumedCapacity::capacity_units);
    let read = |capacity| Units {
        read: total(capacity).unwrap_or_default(),
        write: 0.0,
    };
    let write = |capacity| Units {
        read: 0.0,
        write: total(capacity).unwrap_or_default(),
    };
    if let Some(output) = output.downcast_ref::<GetItemOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<QueryOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<ScanOutput>() {
        read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<BatchGetItemOutput>() {
        let tables = output.consumed_capacity().iter();
        Units {
            read: tables.filter_map(ConsumedCapacity::capacity_units).sum(),
            write: 0.0,
        }
    } else if let Some(output) = output.downcast_ref::<PutItemOutput>() {
        write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<UpdateItemOutput>() {
        write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<DeleteItemOutput>() {
        write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<TransactWriteItemsOutput>() {
        let mut sum = Units::default();
        for table in output.consumed_capacity() {
            let (read, write) = (table.read_capacity_units(), table.write_capacity_units());
            sum.read += read.unwrap_or_default();
            // A transaction that is repeated with its token reads instead of writing.
            sum.write += write
                .or(table.capacity_units().filter(|_| read.is_none()))
                .unwrap_or_default();
        }
        sum
    } else {
        Units::default()
    }
}

package kinesisapi

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// modelled are the operations that the SDK's client has: the methods that take
// an input and give an output.
func modelled(t *testing.T) (names []string, shapes map[string][2]reflect.Type) {
	shapes = map[string][2]reflect.Type{}
	c := reflect.TypeFor[*kinesis.Client]()
	for m := range c.Methods() {
		if m.Type.NumIn() == 4 && m.Type.In(2).Kind() == reflect.Pointer && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			names = append(names, m.Name)
			shapes[m.Name] = [2]reflect.Type{m.Type.In(2).Elem(), m.Type.Out(0).Elem()}
		}
	}
	if len(names) < 45 {
		t.Fatalf("the SDK has %d operations: the way to list them is wrong", len(names))
	}
	return names, shapes
}

// TestEveryOperation fails when the SDK knows an operation, or a member of an
// input, that is missing here, and when a table of tests leaves one out.
func TestEveryOperation(t *testing.T) {
	names, shapes := modelled(t)
	h := newRig(t).h
	var ours []string
	for _, o := range h.operations() {
		ours = append(ours, reflect.ValueOf(o).FieldByName("name").String())
	}
	slices.Sort(ours)
	if !slices.Equal(ours, names) {
		t.Errorf("operations here: %v\nin the model: %v", ours, names)
	}
	failing := map[string]bool{}
	for _, row := range refusals() {
		failing[row.op] = true
	}
	for _, name := range names {
		if successes()[name] == nil {
			t.Errorf("%s has no test of success", name)
		}
		if !failing[name] {
			t.Errorf("%s has no test of refusal", name)
		}
	}
	for name, mine := range ourShapes() {
		theirs := shapes[name]
		compareMembers(t, name+"Input", reflect.TypeOf(mine[0]), theirs[0])
		if mine[1] != nil {
			compareMembers(t, name+"Output", reflect.TypeOf(mine[1]), theirs[1])
		}
	}
	if n := len(ourShapes()); n != len(names) {
		t.Errorf("%d operations have shapes, of %d", n, len(names))
	}
}

// compareMembers compares a struct here with the SDK's.
func compareMembers(t *testing.T, at string, ours, theirs reflect.Type) {
	have := map[string]reflect.Type{}
	for f := range ours.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("aws"), ",")
		have[name] = f.Type
	}
	for f := range theirs.Fields() {
		if !f.IsExported() || f.Name == "ResultMetadata" {
			continue
		}
		mine, ok := have[f.Name]
		if !ok {
			t.Errorf("%s.%s is in the model and not here", at, f.Name)
			continue
		}
		delete(have, f.Name)
		if a, b := structIn(mine), structIn(f.Type); a != nil && b != nil {
			compareMembers(t, at+"."+f.Name, a, b)
		}
	}
	for name := range have {
		t.Errorf("%s.%s is here and not in the model", at, name)
	}
}

func structIn(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t.PkgPath() == "time" || strings.HasSuffix(t.PkgPath(), "awswire") {
		return nil
	}
	return t
}

// ourShapes are inputs and outputs by operation; those of channels have no
// output, because there is none.
func ourShapes() map[string][2]any {
	return map[string][2]any{
		"AddTagsToStream":                        {addTagsToStreamInput{}, none{}},
		"CreateChannel":                          {createChannelInput{}, nil},
		"CreateStream":                           {createStreamInput{}, none{}},
		"DecreaseStreamRetentionPeriod":          {decreaseStreamRetentionPeriodInput{}, none{}},
		"DeleteChannel":                          {deleteChannelInput{}, nil},
		"DeleteResourcePolicy":                   {deleteResourcePolicyInput{}, none{}},
		"DeleteStream":                           {deleteStreamInput{}, none{}},
		"DeregisterStreamConsumer":               {deregisterStreamConsumerInput{}, none{}},
		"DescribeAccountSettings":                {describeAccountSettingsInput{}, describeAccountSettingsOutput{}},
		"DescribeChannel":                        {describeChannelInput{}, nil},
		"DescribeLimits":                         {describeLimitsInput{}, describeLimitsOutput{}},
		"DescribeStream":                         {describeStreamInput{}, describeStreamOutput{}},
		"DescribeStreamConsumer":                 {describeStreamConsumerInput{}, describeStreamConsumerOutput{}},
		"DescribeStreamSummary":                  {describeStreamSummaryInput{}, describeStreamSummaryOutput{}},
		"DisableEnhancedMonitoring":              {monitoringInput{}, monitoringOutput{}},
		"EnableEnhancedMonitoring":               {monitoringInput{}, monitoringOutput{}},
		"GetRecords":                             {getRecordsInput{}, getRecordsOutput{}},
		"GetResourcePolicy":                      {getResourcePolicyInput{}, getResourcePolicyOutput{}},
		"GetShardIterator":                       {getShardIteratorInput{}, getShardIteratorOutput{}},
		"IncreaseStreamRetentionPeriod":          {increaseStreamRetentionPeriodInput{}, none{}},
		"ListChannels":                           {listChannelsInput{}, nil},
		"ListShards":                             {listShardsInput{}, listShardsOutput{}},
		"ListStreamConsumers":                    {listStreamConsumersInput{}, listStreamConsumersOutput{}},
		"ListStreams":                            {listStreamsInput{}, listStreamsOutput{}},
		"ListTagsForResource":                    {listTagsForResourceInput{}, listTagsForResourceOutput{}},
		"ListTagsForStream":                      {listTagsForStreamInput{}, listTagsForStreamOutput{}},
		"MergeShards":                            {mergeShardsInput{}, none{}},
		"PutRecord":                              {putRecordInput{}, putRecordOutput{}},
		"PutRecords":                             {putRecordsInput{}, putRecordsOutput{}},
		"PutResourcePolicy":                      {putResourcePolicyInput{}, none{}},
		"RegisterStreamConsumer":                 {registerStreamConsumerInput{}, registerStreamConsumerOutput{}},
		"RemoveTagsFromStream":                   {removeTagsFromStreamInput{}, none{}},
		"SplitShard":                             {splitShardInput{}, none{}},
		"StartStreamEncryption":                  {encryptionInput{}, none{}},
		"StopStreamEncryption":                   {encryptionInput{}, none{}},
		"SubscribeToShard":                       {subscribeToShardInput{}, nil},
		"TagResource":                            {tagResourceInput{}, none{}},
		"UntagResource":                          {untagResourceInput{}, none{}},
		"UpdateAccountSettings":                  {updateAccountSettingsInput{}, updateAccountSettingsOutput{}},
		"UpdateChannel":                          {updateChannelInput{}, nil},
		"UpdateMaxRecordSize":                    {updateMaxRecordSizeInput{}, none{}},
		"UpdateShardCount":                       {updateShardCountInput{}, updateShardCountOutput{}},
		"UpdateStreamMode":                       {updateStreamModeInput{}, none{}},
		"UpdateStreamRecordDistributionStrategy": {updateStreamRecordDistributionStrategyInput{}, none{}},
		"UpdateStreamWarmThroughput":             {updateStreamWarmThroughputInput{}, updateStreamWarmThroughputOutput{}},
	}
}

package kinesisapi

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestShardFilters: which shards each filter gives of a stream that was split
// and merged, page by page as well as at once.
func TestShardFilters(t *testing.T) {
	r := newRig(t)
	const pause = 5 * time.Millisecond // moments are told apart by milliseconds
	moment := func() string {
		time.Sleep(pause)
		at := time.Now()
		time.Sleep(pause)
		return fmt.Sprintf("%d.%03d", at.Unix(), at.UnixMilli()%1000)
	}
	r.made("s", 2)
	two := moment()
	r.do("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-0","NewStartingHashKey":"1000"}`) // 2 and 3
	three := moment()
	r.do("MergeShards", `{"StreamName":"s","ShardToMerge":"shardId-3","AdjacentShardToMerge":"shardId-1"}`) // 4
	for _, row := range []struct{ filter, want string }{
		{``, "01234"},
		{`,"ShardFilter":{"Type":"AT_LATEST"}`, "24"},
		{`,"ShardFilter":{"Type":"AT_TRIM_HORIZON"}`, "01"},
		{`,"ShardFilter":{"Type":"FROM_TRIM_HORIZON"}`, "01234"},
		{`,"ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":` + two + `}`, "01"},
		{`,"ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":` + three + `}`, "123"},
		{`,"ShardFilter":{"Type":"FROM_TIMESTAMP","Timestamp":` + three + `}`, "1234"},
		{`,"ShardFilter":{"Type":"AFTER_SHARD_ID","ShardId":"shardId-000000000002"}`, "34"},
		{`,"ExclusiveStartShardId":"shardId-000000000001"`, "234"},
		{`,"ExclusiveStartShardId":"shardId-000000000002","ShardFilter":{"Type":"AT_LATEST"}`, "4"},
	} {
		for _, size := range []int{1, 2, 100} {
			var got strings.Builder
			ask := fmt.Sprintf(`{"StreamName":"s","MaxResults":%d%s}`, size, row.filter)
			for {
				answer := r.do("ListShards", ask)
				for i := range answer["Shards"].([]any) {
					got.WriteString(dig(t, answer, "Shards", i, "ShardId").(string)[len("shardId-00000000000"):])
				}
				token, more := answer["NextToken"].(string)
				if !more {
					break
				}
				ask = fmt.Sprintf(`{"NextToken":%q,"MaxResults":%d}`, token, size)
			}
			equal(t, fmt.Sprintf("%s by %d", row.filter, size), got.String(), row.want)
		}
	}
}

// TestClosedShard: a closed shard is read to its end, where its children stand
// in place of an iterator, and reading goes on in them.
func TestClosedShard(t *testing.T) {
	r := newRig(t)
	r.made("s", 1)
	r.put("s", "a", "0")
	r.put("s", "b", "0")
	it := r.iterator("s", 0, "TRIM_HORIZON")
	r.do("SplitShard", `{"StreamName":"s","ShardToSplit":"shardId-0","NewStartingHashKey":"1000"}`)
	r.put("s", "c", "0")
	first := r.do("GetRecords", fmt.Sprintf(`{"ShardIterator":%q,"Limit":1}`, it))
	equal(t, "children", first["ChildShards"], nil)
	last := r.do("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, first["NextShardIterator"]))
	equal(t, "last", dig(t, last, "Records", 0, "Data"), any("Yg=="))
	if _, goesOn := last["NextShardIterator"]; goesOn {
		t.Error("an iterator behind the end")
	}
	for i, want := range []string{shardName(1), shardName(2)} {
		equal(t, "child", dig(t, last, "ChildShards", i, "ShardId"), any(want))
		equal(t, "parents", fmt.Sprint(dig(t, last, "ChildShards", i, "ParentShards")), "["+shardName(0)+"]")
	}
	equal(t, "end", dig(t, last, "ChildShards", 0, "HashKeyRange", "EndingHashKey"), any("999"))
	equal(t, "child's", r.read(r.iterator("s", 1, "TRIM_HORIZON")), "c")
	end := r.do("GetRecords", fmt.Sprintf(`{"ShardIterator":%q}`, r.iterator("s", 0, "LATEST")))
	equal(t, "LATEST of a closed shard", len(end["Records"].([]any))+len(end["ChildShards"].([]any)), 2)
}

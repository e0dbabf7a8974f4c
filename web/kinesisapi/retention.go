package kinesisapi

import "github.com/kineweir/kineweir/datastream"

// checkRetention refuses a period in the service's words.
func checkRetention(s *datastream.Stream, hours int, raise bool) error {
	switch {
	case hours < datastream.MinRetentionHours:
		return invalid("Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.",
			datastream.MinRetentionHours, hours)
	case hours > datastream.MaxRetentionHours:
		return invalid("Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.",
			datastream.MaxRetentionHours, hours)
	case raise && hours < s.RetentionHours:
		return invalid("Requested retention period (%d hours) for stream %s can not be shorter than existing retention period (%d hours). Use DecreaseRetentionPeriod API.",
			hours, s.Name, s.RetentionHours)
	case !raise && hours > s.RetentionHours:
		return invalid("Requested retention period (%d hours) for stream %s can not be longer than existing retention period (%d hours). Use IncreaseRetentionPeriod API.",
			hours, s.Name, s.RetentionHours)
	}
	return nil
}

package asl_test

func (s *scenario) judgeTestState() (string, []string) {
	return "kind test_state", nil
}

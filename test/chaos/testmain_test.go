package chaos

import (
	"testing"

	"pymessage/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

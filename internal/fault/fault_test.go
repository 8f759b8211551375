package fault_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"pymessage/internal/fault"
)

func TestFaultKeepsKindAndCauseThroughWrapping(t *testing.T) {
	t.Parallel()

	err := fmt.Errorf("asking: %w", fault.Wrap(fault.Unavailable, io.ErrUnexpectedEOF, "accounts is away"))
	if !errors.Is(err, fault.Unavailable) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("kind or cause lost in %v", err)
	}
	if errors.Is(err, fault.NotFound) {
		t.Fatal("is every kind at once")
	}
	if got := fault.KindOf(err); got != fault.Unavailable {
		t.Fatalf("KindOf = %v", got)
	}
	if got := fault.Message(err); got != "accounts is away" {
		t.Fatalf("Message = %q", got)
	}
}

func TestUnknownErrorsTellUsersNothing(t *testing.T) {
	t.Parallel()

	err := errors.New("password=hunter2")
	if fault.KindOf(err) != fault.Internal || fault.Message(err) != "internal error" {
		t.Fatalf("got %v, %q", fault.KindOf(err), fault.Message(err))
	}
}

func TestEveryStatusComesBackAsItsKind(t *testing.T) {
	t.Parallel()

	for _, k := range []fault.Kind{fault.Invalid, fault.Unauthorized, fault.Forbidden, fault.NotFound,
		fault.Conflict, fault.TooLarge, fault.Unsupported, fault.TooMany, fault.Internal, fault.Unavailable} {
		if got := fault.KindOfStatus(k.Status()); got != k {
			t.Errorf("%s travels as %d and comes back as %s", k, k.Status(), got)
		}
	}
	if got := fault.KindOfStatus(http.StatusBadGateway); got != fault.Unavailable {
		t.Errorf("502 is %s", got)
	}
	if got := fault.KindOfStatus(http.StatusTeapot); got != fault.Invalid {
		t.Errorf("418 is %s", got)
	}
}

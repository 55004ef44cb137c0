import CLibpq
import CHiredis
import DequeModule
import Vitals

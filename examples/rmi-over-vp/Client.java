import java.rmi.RemoteException;
import java.rmi.registry.LocateRegistry;
import java.rmi.server.UnicastRemoteObject;
import java.util.concurrent.atomic.AtomicInteger;

/** java -Djava.rmi.server.hostname=HOST Client REGISTRY-HOST REGISTRY-PORT CALLS ADDRESS CALLBACK-PORT */
public class Client {
    public static void main(String[] args) throws Exception {
        Counter counter = (Counter) LocateRegistry.getRegistry(args[0], Integer.parseInt(args[1])).lookup("counter");
        AtomicInteger back = new AtomicInteger();
        Listener listener = number -> back.incrementAndGet();
        int port = Integer.parseInt(args[4]);
        Listener stub = (Listener) UnicastRemoteObject.exportObject(listener, port, null, Site.at(args[3]));
        try {
            call(counter, stub, Integer.parseInt(args[2]));
            System.out.println(counter.report() + ", called back " + back);
        } finally {
            // Or the program would go on for ever.
            UnicastRemoteObject.unexportObject(listener, true);
        }
    }

    private static void call(Counter counter, Listener stub, int calls) throws RemoteException {
        for (int number = 1; number <= calls; number++) {
            int count = counter.count(number, stub);
            if (count != number) {
                throw new IllegalStateException("call " + number + " was counted as " + count);
            }
            if (number % 50 == 0) {
                System.out.println("call " + number);
            }
        }
    }
}
